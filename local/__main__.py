"""`python -m local up`: keep the embedded AWS running until Ctrl-C."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from local.cloud import DEFAULT_API_PORT, DEFAULT_AWS_PORT, Cloud
from local.errors import TemplateError
from local.faults import Faults, FaultSpecError, what_there_is
from local.images import ImageError
from local.prepare import SCHEDULED_TRIGGER, PreparationError, prepare_stack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


class _Interruption(Exception):  # noqa: N818 - no error: somebody wants it to end
    """The first Ctrl-C or SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.faults == "help":
        print(what_there_is())
        return EXIT_OK
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in ("werkzeug", "botocore", "samtranslator", "moto"):
        logging.getLogger(name).setLevel(logging.ERROR)
    parameters = {"ScheduledTrigger": SCHEDULED_TRIGGER, **dict(options.parameter)}
    if options.schedule is not None:
        parameters["ScheduleExpression"] = options.schedule
    try:
        cloud = Cloud(
            parameters=parameters,
            sources=options.pipelines,
            api_port=options.api_port,
            aws_port=options.aws_port,
            faults=Faults.parse(options.faults),
        )
    except (FaultSpecError, ImageError) as error:
        print(f"The embedded AWS cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    stop = _Stop(cloud)
    try:
        print("Starting the embedded AWS (the first time it builds layers and an image) …", flush=True)
        with cloud:
            with cloud.faults.suspended():
                prepared = prepare_stack(cloud, lambda text: print(f"{text} …", flush=True))
            print(_welcome(cloud, prepared.api_key), flush=True)
            stop.wait()
            print("Stopping; once more to kill …", flush=True)
    except _Interruption:
        return EXIT_INTERRUPTED
    except (TemplateError, ImageError, PreparationError) as error:
        print(f"The embedded AWS cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


class _Stop:
    """SIGINT and SIGTERM: the first ends everything in order, the second kills."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._asked = threading.Event()
        self._waiting = False
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def wait(self) -> None:
        """Wait for the first signal."""
        self._waiting = True
        # A wait without a time-out would keep Python's signal handlers from running on some systems.
        while not self._asked.wait(timeout=0.5):
            pass

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._asked.is_set():
            self._cloud.kill()
            os._exit(128 + number)
        self._asked.set()
        if not self._waiting:
            raise _Interruption


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The embedded AWS of this repository.")
    up = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "up", help="deploy template.yaml on this machine and keep it running"
    )
    up.add_argument(
        "--api-port", type=_port, default=DEFAULT_API_PORT, help="port of the HTTP API; another if it is taken"
    )
    up.add_argument(
        "--aws-port", type=_port, default=DEFAULT_AWS_PORT, help="port of the AWS endpoint; another if taken"
    )
    up.add_argument(
        "--pipelines", type=Path, nargs="+", default=[], metavar="DIR", help="folders with pipelines of your own"
    )
    up.add_argument(
        "--parameter", type=_parameter, action="append", default=[], metavar="KEY=VALUE", help="a stack parameter"
    )
    up.add_argument("--schedule", metavar="EXPRESSION", help='when the scheduled trigger fires, as "rate(1 minute)"')
    up.add_argument(
        "--faults",
        metavar="SPEC",
        default=os.environ.get("FAULTS", ""),
        help='what goes wrong, as "ecs.RunTask.lost_answer=0.2,events.repeat=0.3,seed=7"; "help" lists what can '
        "(default: the environment's FAULTS)",
    )
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):  # noqa: PLR2004 - TCP's ports
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 0 (any) to 65535")
    return int(text)


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def _welcome(cloud: Cloud, key: str) -> str:
    bucket = cloud.outputs["DataBucket"]
    environment = {
        "ZENTRIGGER_API_URL": cloud.api_url,
        "ZENTRIGGER_API_KEY": key,
        "DATA_BUCKET": bucket,
        **cloud.environment,
    }
    names = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    shown = ("ZENTRIGGER_API_URL", "ZENTRIGGER_API_KEY", "DATA_BUCKET", *names)
    exports = "\n".join(f"export {name}={shlex.quote(environment[name])}" for name in shown)
    programs = shlex.quote(str(Path(sys.executable).parent))
    told = str(cloud.faults)
    faults = (
        ""
        if told == "none"
        else f"\n  Faults   (seed {cloud.faults.seed})\n           " + told.replace("\n", "\n           ")
    )
    body = '{"pipeline": "training_pipeline", "parameters": {"model_type": "random_forest"}}'
    return f"""
The embedded AWS is up. Ctrl-C ends it.

  API      {cloud.api_url}
  Key      {key}
  AWS      {cloud.endpoint_url}
  Logs     {cloud.log_folder} (functions/, tasks/, access.log){faults}

For another terminal (the `zentrigger` command is in .venv/bin; the `aws` command you install yourself):
export PATH={programs}:"$PATH"
{exports}

Try:
  curl -X POST {cloud.api_url}/runs -H 'X-API-Key: {key}' -H 'Content-Type: application/json' -d '{body}'
  aws --endpoint-url {cloud.endpoint_url} s3 cp pipelines/data/breast_cancer.csv s3://{bucket}/incoming/breast_cancer.csv
  in a browser: {cloud.api_url}/docs
"""


if __name__ == "__main__":
    sys.exit(main())
