"""Holds functions and tasks to their roles: what a role's policies do not allow is refused, as AWS refuses it.

Each function and task has credentials whose access key id names its role; a request that is signed with other
credentials is an operator's, who may do everything. Functions' and tasks' calls are remembered, so that tests can tell
which permissions nobody uses.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from local.errors import invalid
from local.http_server import Request, Response
from local.iam import Call, Grant, PolicyError, Statement, check_statement, described, granting, role_statements
from local.iam_requests import Surroundings, UnknownRequestError, calls_of
from local.moto_backend import error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.deploy import Stack

logger = logging.getLogger(__name__)

_KEY_PREFIX: Final = "role."
_SIGNED = re.compile(r"Credential=([^/,\s]+)/")


def access_key_id(role_arn: str) -> str:
    """Return the access key id of whoever has assumed the role."""
    return f"{_KEY_PREFIX}{role_arn.rpartition('/')[2]}"


def is_of_role(request: Request) -> bool:
    """Whether a function or a task of the stack makes the request, and not an operator."""
    return _key_of(request).startswith(_KEY_PREFIX)


class AccessControl:
    """Judges the requests of the stack's functions and tasks. Raises TemplateError for a role that it cannot judge."""

    def __init__(self, stack: Stack, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._roles = {
            access_key_id(stack.arn(role.logical_id)): (role.logical_id, role_statements(role.properties))
            for role in stack.of_kind("AWS::IAM::Role")
        }
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str, frozenset[Grant]], Call] = {}
        self._refusals: list[str] = []
        self._requests: Counter[str] = Counter()
        for logical_id, statements in self._roles.values():
            for statement in statements:
                try:
                    check_statement(statement)
                except PolicyError as error:
                    raise invalid(logical_id, str(error)) from error

    @property
    def allowed_calls(self) -> tuple[tuple[str, Call], ...]:
        """One call, with its role's logical id, for every way in which a call has been allowed so far."""
        with self._lock:
            return tuple((role, call) for (role, _, _), call in self._seen.items())

    def requests_of(self, role: str) -> int:
        """How many requests have been made so far by whoever has the role, given by its logical id."""
        with self._lock:
            return self._requests[role]

    @property
    def refusals(self) -> tuple[str, ...]:
        """What has been refused so far: the role's logical id, and what it may not do."""
        with self._lock:
            return tuple(self._refusals)

    def guard(self, service: str, request: Request, answer: Callable[[str, Request], Response]) -> Response:
        """Answer the request, or refuse it."""
        if not is_of_role(request):
            return answer(service, request)
        key = _key_of(request)
        logical_id, statements = self._roles.get(key, (key, ()))
        with self._lock:
            self._requests[logical_id] += 1
        try:
            calls = calls_of(service, request, self._surroundings)
        except UnknownRequestError as unknown:
            return self._refuse(service, request, f"{logical_id}: it is not known which permission {unknown} needs")
        for call in calls:
            if not self._allows(logical_id, statements, call):
                return self._refuse(service, request, _message(logical_id, call))
        response = answer(service, request)
        if service == "s3" and response.status == HTTPStatus.NOT_FOUND and calls[0].action == "s3:GetObject":
            # Who may not list a bucket is not told what is not in it (Amazon S3 API Reference, GetObject).
            bucket = Call("s3:ListBucket", calls[0].resource.partition("/")[0])
            if not self._allows(logical_id, statements, bucket):
                return self._refuse(service, request, _message(logical_id, bucket))
        return response

    def _refuse(self, service: str, request: Request, message: str) -> Response:
        logger.info("Refused: %s", message)
        with self._lock:
            self._refusals.append(message)
        return _denied(service, request, message)

    def _allows(self, logical_id: str, statements: tuple[Statement, ...], call: Call) -> bool:
        grants = granting(statements, call)
        if grants:
            with self._lock:
                self._seen.setdefault((logical_id, call.action, grants), call)
        return bool(grants)


def _message(logical_id: str, call: Call) -> str:
    return f"{logical_id} is not authorized to perform: {described([call])}"


def role_environment(role_arn: str | None) -> Mapping[str, str]:
    """Return the credentials of a function or task with that role; of one without a role, nobody's."""
    return {"AWS_ACCESS_KEY_ID": access_key_id(role_arn or "none")}


def _key_of(request: Request) -> str:
    signed = _SIGNED.search(request.header("Authorization") or "")
    if signed is not None:
        return signed[1]
    return parse_qs(request.query).get("X-Amz-Credential", [""])[0].partition("/")[0]


def _denied(service: str, request: Request, message: str) -> Response:
    if service != "s3":
        return error_response(HTTPStatus.BAD_REQUEST, "AccessDeniedException", message)
    body = f"<Error><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
    content = b"" if request.method == "HEAD" else body.encode()
    return Response(HTTPStatus.FORBIDDEN, [("Content-Type", "application/xml")], content)
