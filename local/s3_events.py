"""`Object Created` as S3 sends it to EventBridge.

Shape and reasons: Amazon S3 User Guide, "EventBridge event message structure". The key is not URL-encoded there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.http_server import Request, Response

_SUB_RESOURCES = frozenset({
    "acl", "attributes", "encryption", "legal-hold", "partNumber", "renameObject", "restore", "retention", "select",
    "tagging", "torrent", "uploads",
})  # fmt: skip


@dataclass(frozen=True)
class Creation:
    """One request that makes an object, if it succeeds."""

    bucket: str
    key: str
    reason: str


def creation_of(request: Request) -> Creation | None:
    """Return which object the request makes, if it makes one."""
    bucket, key = _address(request)
    names = {name for name, _ in parse_qsl(request.query, keep_blank_values=True)}
    if not bucket:
        return None
    if request.method == "PUT" and key and not names & (_SUB_RESOURCES | {"uploadId"}):
        reason = "PutObject" if request.header("x-amz-copy-source") is None else "CopyObject"
        return Creation(bucket, key, reason)
    if request.method == "POST" and key and "uploadId" in names:
        return Creation(bucket, key, "CompleteMultipartUpload")
    content_type = request.header("Content-Type") or ""
    if request.method == "POST" and not key and not names and content_type.startswith("multipart/form-data"):
        posted = _posted_key(request, content_type)
        return None if posted is None else Creation(bucket, posted, "POST Object")
    return None


def succeeded(response: Response) -> bool:
    """S3 may answer a copy or a completed upload with status 200 and an error in the body."""
    return 200 <= response.status < 400 and b"<Error>" not in response.body[:500]  # noqa: PLR2004 - HTTP's ranges


class Sequencer:
    """Hexadecimal numbers that rise for ever and are of equal length, as S3's `sequencer` is compared as a text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        """Return a number greater than all before."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return f"00{self._last:016X}"


def object_created_detail(  # noqa: PLR0913 - the event has these parts
    creation: Creation,
    *,
    head: Mapping[str, str],
    sequencer: str,
    request_id: str,
    requester: str,
    source_address: str,
) -> dict[str, Any]:
    """Build the detail from the headers that HEAD answers for the object."""
    subject: dict[str, Any] = {
        "key": creation.key,
        "size": int(head.get("content-length", "0")),
        "etag": head.get("etag", "").strip('"'),
    }
    version = head.get("x-amz-version-id")
    if version not in {None, "null"}:
        subject["version-id"] = version
    subject["sequencer"] = sequencer
    return {
        "version": "0",
        "bucket": {"name": creation.bucket},
        "object": subject,
        "request-id": request_id,
        "requester": requester,
        "source-ip-address": source_address,
        "reason": creation.reason,
    }


def _address(request: Request) -> tuple[str, str]:
    """Bucket and key, from a path-style or a virtual-host-style request."""
    host = (request.header("Host") or "").partition(":")[0]
    for suffix in (".localhost", ".s3.localhost"):
        if host.endswith(suffix) and not host.removesuffix(suffix).endswith(".s3"):
            return host.removesuffix(suffix).removesuffix(".s3"), unquote(request.path[1:])
    bucket, _, key = request.path[1:].partition("/")
    return unquote(bucket), unquote(key)


def _posted_key(request: Request, content_type: str) -> str | None:
    """Return the form field `key` of a browser upload; `${filename}` in it stands for the file's own name."""
    mimetype, options = parse_options_header(content_type)
    _, form, files = FormDataParser().parse(BytesIO(request.body), mimetype, len(request.body), options)
    key = form.get("key")
    if key is None:
        return None
    upload = files.get("file")
    return key.replace("${filename}", (upload.filename if upload is not None else None) or "")
