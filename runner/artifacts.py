"""Artifacts that lie on the task's own disk, copied to S3 before the disk goes with the task."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_COPIED_BYTES = 2 * 1024**3
"""What is copied of one run at most. What no longer fits is reported without a URI; smaller outputs may still fit.

A pipeline with larger outputs wants an artifact store of its own (a ZenML server with an S3 artifact store).
"""

_log = logging.getLogger(__name__)


class ArtifactCopyError(Exception):
    """An output could not be copied, so that it will be lost with the task."""


def is_local(uri: str) -> bool:
    """Whether a URI is a path on this machine's disk."""
    return "://" not in uri or uri.startswith("file://")


class ArtifactCopies:
    """Copies to `s3://bucket/runs/<run id>/<task id>/<step>/<output>/`; without a bucket nothing is copied."""

    def __init__(self, bucket: str | None, *, run_id: str, execution: str, room: int = MAX_COPIED_BYTES) -> None:
        self._bucket = bucket
        self._prefix = f"runs/{run_id}/{execution}"
        self._room = room
        self._client: S3Client | None = None

    def copy(self, uri: str, *, step: str, output: str) -> str | None:
        """Copy an artifact's folder and give its new URI; None if there is no bucket, or no room for it.

        Raises:
            ArtifactCopyError: S3 did not take it.

        """
        if not self._bucket:
            return None
        folder = Path(uri.removeprefix("file://"))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        if size > self._room:
            _log.warning(
                "output %s of step %s (%d bytes) is not copied: a run may keep %d bytes",
                output,
                step,
                size,
                MAX_COPIED_BYTES,
            )
            return None
        prefix = f"{self._prefix}/{quote(step, safe='')}/{quote(output, safe='')}"
        try:
            # The credentials may have been looked up, and failed, only now.
            self._client = self._client or boto3.client("s3")
            for path in files:
                self._client.upload_file(str(path), self._bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")
        except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
            raise ArtifactCopyError(
                f"The output {output} of step {step} could not be copied to s3://{self._bucket}/{prefix}: {error}"
            ) from error
        self._room -= size
        return f"s3://{self._bucket}/{prefix}"
