"""What all commands share: the client they speak through, how they print, and what a wrong command line is."""

# ruff: noqa: T201 - a command line prints

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus

from zentrigger_client import rendering
from zentrigger_client.api import Client, Json, ZentriggerError
from zentrigger_client.errors import redact

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(Exception):
    """The command line makes no sense; the text says what to change."""


class Context:
    """What a command needs from outside: the client, made when first asked for, and how to print."""

    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment

    def client(self) -> Client:
        """Return a client of the API that the options or the environment name."""
        url = self._options.api_url or self._environment.get("ZENTRIGGER_API_URL")
        if not url:
            raise UsageError("which API? Set ZENTRIGGER_API_URL or give --api-url")
        key = self._environment.get("ZENTRIGGER_API_KEY")
        if not key:
            raise UsageError("which API key? Set ZENTRIGGER_API_KEY")
        try:
            return Client(url, key)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def show(self, content: Json, text: Callable[[Json], str]) -> None:
        """Print the answer: as JSON if asked for, otherwise as text."""
        print(json.dumps(content, indent=2) if self._options.json else text(content))


Command = Callable[[argparse.Namespace, Context], int]
"""What a subcommand does; returns the exit status."""


def complain(error: ZentriggerError, *, as_json: bool = False, may_break: bool = False) -> None:
    """Print why the API refused: the problem as JSON on stdout, or sentences on stderr.

    Where the command has the options for it (`may_break`), the sentences end with those that would have helped.
    """
    if as_json:
        print(redact(json.dumps(problem_of(error), indent=2)))
    else:
        print(rendering.plain("\n".join([str(error), *(_advice(error) if may_break else [])])), file=sys.stderr)


def problem_of(error: ZentriggerError) -> Json:
    """Return the API's problem (RFC 9457), or one made of what is known."""
    return error.problem or {"title": error.title, "detail": error.detail, "status": error.status}


def _advice(error: ZentriggerError) -> list[str]:
    if error.status != HTTPStatus.CONFLICT:
        return []
    pointers = [pointer for pointer, _ in error.errors]
    found = {
        "--allow-breaking does it anyway.": any(pointer.startswith("/triggers/") for pointer in pointers),
        "--replace moves the name.": "/name" in pointers,
    }
    return [advice for advice, helps in found.items() if helps]
