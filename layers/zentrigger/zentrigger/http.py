"""HTTP as all functions speak it: reading requests, knowing callers, answering, and errors as RFC 9457 problems."""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar, get_args

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as RouteNotFoundError
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import BaseModel, ValidationError

from zentrigger import errors
from zentrigger.errors import InvalidRequestError, Problem, ZentriggerError
from zentrigger.items import throttled
from zentrigger.key_store import KeyStore
from zentrigger.keys import ApiKey, Scope
from zentrigger.observability import logger

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES = 1024 * 1024
"""Larger bodies are refused unread; the largest good one is a snapshot's schemas."""

STATUS_OF: Mapping[type[ZentriggerError], HTTPStatus] = {
    errors.UnreadableError: HTTPStatus.BAD_REQUEST,
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.MethodNotAllowedError: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyClashError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.QueueFullError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}

MAX_DIGITS = 308
"""Digits of a whole number: with more it is beyond all floating-point numbers (IEEE 754, 64 bits)."""

MAX_DEPTH = 64
"""Deeper bodies are refused: what reads the record later, pydantic and the runner, would fail at some 200."""

_PROBLEM_TYPES = "urn:zentrigger:problem:"


def make_resolver() -> APIGatewayHttpResolver:
    """Make the resolver of a function, with all errors mapped to problems."""
    app = APIGatewayHttpResolver()

    @app.exception_handler(ZentriggerError)  # type: ignore[untyped-decorator] # Powertools leaves it untyped
    def domain_error(error: ZentriggerError) -> Response[str]:
        return problem(error, app.current_event)

    @app.exception_handler(Exception)  # type: ignore[untyped-decorator] # Powertools leaves it untyped
    def unexpected_error(error: Exception) -> Response[str]:
        if throttled(error):
            logger.warning("AWS takes no more calls", error=str(error))
            return problem(errors.BusyError("AWS takes no more calls just now. Try again."), app.current_event)
        logger.exception("an error that nobody foresaw", kind=type(error).__name__)
        return _problem(
            app.current_event,
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            kind="internal-error",
            title="Something went wrong here",
            detail="This is our fault, not yours. Tell your operator the request id that `instance` names.",
        )

    @app.not_found
    def no_route(_: RouteNotFoundError) -> Response[str]:
        return problem(
            errors.NotFoundError("There is nothing at this path. GET /docs shows what there is."), app.current_event
        )

    return app


def authenticate(event: APIGatewayProxyEventV2, keys: KeyStore, scope: Scope) -> ApiKey:
    """Give the caller's API key, from X-API-Key or as a bearer token.

    Raises:
        UnauthorizedError: no key, or none that is known.
        ForbiddenError: the key has not this scope.

    """
    text = event.headers.get("x-api-key")
    scheme, _, token = event.headers.get("authorization", "").partition(" ")
    if text is None and scheme.lower() == "bearer":
        text = token.strip()
    key = keys.authenticate(text)
    logger.append_keys(key_id=key.key_id)
    key.require(scope)
    return key


def read_body(event: APIGatewayProxyEventV2, model: type[Body]) -> Body:
    """Give the JSON body of a request as a typed value.

    Raises:
        UnsupportedMediaTypeError: it is not sent as JSON.
        TooLargeError: it is over 1 MB.
        UnreadableError: it is no JSON: also NaN, Infinity, a key given twice, and text that is not Unicode.
        InvalidRequestError: it is JSON, but not of this shape; all problems are in it.

    """
    return validate(model, read_values(event))


def read_values(event: APIGatewayProxyEventV2) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give the JSON body of a request, whatever its shape; raises what `read_body` does, but for that."""
    media_type = event.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise errors.UnsupportedMediaTypeError("Send the body as JSON, with the header Content-Type: application/json.")
    return parse_json(_text_body(event))


def validate(model: type[Body], values: Any, *, at: str = "") -> Body:  # noqa: ANN401 - JSON of any shape
    """Give JSON as a typed value, or raise an InvalidRequestError with all that is wrong; `at` is where it stands."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_as_problem(wrong, model) for wrong in error.errors()]
        raise InvalidRequestError([Problem(f"{at}{one.pointer}", one.detail) for one in problems]) from None


def _as_problem(wrong: Any, model: type[BaseModel]) -> Problem:  # noqa: ANN401 - pydantic's ErrorDetails
    place = wrong["loc"]
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)
    if wrong["type"] == "extra_forbidden":
        known = f" Known: {', '.join(sorted(model.model_fields))}." if len(place) == 1 else ""
        return Problem(pointer, f"There is no field {place[-1]!r} here.{known}")
    if wrong["type"] in _IN_JSON:
        return Problem(pointer, _IN_JSON[wrong["type"]].format(**wrong.get("ctx", {})))
    described = _description(model, place)
    if wrong["type"] == "string_pattern_mismatch" and described:
        return Problem(pointer, f"{wrong['msg']}. {described}")
    return Problem(pointer, wrong["msg"].removeprefix("Value error, "))


_IN_JSON = {
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
    "list_type": "Input should be an array",
    "tuple_type": "Input should be an array",
    "too_long": "Input should have at most {max_length} items, not {actual_length}",
    "too_short": "Input should have at least {min_length} items, not {actual_length}",
}
"""Pydantic's errors that speak of Python's types, by their types, in the words of JSON."""


def _description(model: type[BaseModel], place: Sequence[str | int]) -> str | None:
    """Give what the field at a place is described as, in a model or in one within it."""
    inner: type[BaseModel] | None = model
    described = None
    for part in place:
        field = inner.model_fields.get(str(part)) if inner else None
        if field is None:
            return None
        described = field.description
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return described


def _depth(value: Any) -> int:  # noqa: ANN401 - JSON of any shape
    """Give how deep a value is nested, looking no deeper than matters."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


def raw_body(event: APIGatewayProxyEventV2) -> bytes:
    """Give the body of a request byte for byte as the caller sent it."""
    body = event.body or ""
    return base64.b64decode(body) if event.is_base64_encoded else body.encode("utf-8", "surrogatepass")


def _text_body(event: APIGatewayProxyEventV2) -> str:
    try:
        return raw_body(event).decode()
    except ValueError as error:
        raise errors.UnreadableError("The body is not UTF-8 text.") from error


def parse_json(text: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give text as JSON, more strictly than Python would.

    Raises:
        TooLargeError: it is over 1 MB.
        UnreadableError: it is no JSON: also NaN, Infinity, a key given twice, and text that is not Unicode.

    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BODY_BYTES:
        raise errors.TooLargeError(f"The body is over {MAX_BODY_BYTES} bytes. Put the data in S3 and pass its URL.")
    try:
        values = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_repetition,
        )
        # Half of a surrogate pair is legal in JSON's escapes, and no text that any store or log can keep.
        json.dumps(values, ensure_ascii=False).encode()
        too_deep = _depth(values) > MAX_DEPTH
    except UnicodeEncodeError:
        raise errors.UnreadableError("The body holds half of a surrogate pair (\\ud800 to \\udfff alone).") from None
    except RecursionError:
        raise errors.UnreadableError("The body is nested too deeply.") from None
    except ValueError as error:
        raise errors.UnreadableError(f"The body is not JSON: {error}") from None
    if too_deep:
        raise errors.UnreadableError(f"The body is nested over {MAX_DEPTH} deep.")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; leave it out or send null")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value


def _whole(digits: str) -> int:
    # One that is too large for a float fits no JSON Schema of a number that pydantic, or anybody else, can check.
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"the number {digits[:40]}… is too large")
    return int(digits)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        # Counted once, not once for each name: 1 MB holds some 100,000 of them.
        times = Counter(name for name, _ in pairs)
        repeated = next(name for name, count in times.items() if count > 1)
        raise ValueError(f"the key {repeated[:100]!r} is there twice")
    return values


def path_parameter(event: APIGatewayProxyEventV2, name: str, in_route: str) -> str:
    """Give a parameter of the path as the gateway read it, decoded; `in_route` where only the path itself is known."""
    return (event.path_parameters or {}).get(name, in_route)


def query_number(event: APIGatewayProxyEventV2, name: str, default: int, *, least: int, most: int) -> int:
    """Give a whole number from the query string, from `least` to `most`."""
    text = (event.query_string_parameters or {}).get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):  # noqa: PLR2004 - digits
        raise InvalidRequestError([Problem(f"/{name}", f"`{name}` is a whole number from {least} to {most}.")])
    return int(text)


def no_query(event: APIGatewayProxyEventV2) -> None:
    """Refuse a query string where there is none to be: what it asks for would silently not happen.

    Raises:
        InvalidRequestError: there is one.

    """
    given = event.query_string_parameters or {}
    if given:
        raise InvalidRequestError([Problem(f"/{name}", f"This call takes no {name!r} in its query.") for name in given])


def no_body(event: APIGatewayProxyEventV2) -> None:
    """Refuse a body where there is none to be: what it asks for would silently not happen. `{}` asks for nothing.

    Raises:
        InvalidRequestError: there is one.

    """
    if (event.body or "").strip() not in ("", "{}"):
        raise InvalidRequestError([Problem("", "This call takes no body. Leave it out.")])


def query_flag(event: APIGatewayProxyEventV2, name: str) -> bool:
    """Give a flag from the query string, `true` or `false`, which is the only thing that the query may hold.

    Raises:
        InvalidRequestError: it is neither, or the query asks for something else, too.

    """
    given = event.query_string_parameters or {}
    wrong = [
        Problem(f"/{other}", f"This call takes no {other!r} in its query, only {name!r}.")
        for other in given
        if other != name
    ]
    if given.get(name, "false") not in ("true", "false"):
        wrong.append(Problem(f"/{name}", f"`{name}` is true or false."))
    if wrong:
        raise InvalidRequestError(wrong)
    return given.get(name) == "true"


def query_text(event: APIGatewayProxyEventV2, *names: str) -> dict[str, str | None]:
    """Give text from the query string, by name.

    Raises:
        InvalidRequestError: a parameter is there that is none of `names`, `limit` and `cursor`, or one is empty.

    """
    given = event.query_string_parameters or {}
    known = (*names, "limit", "cursor")
    unknown = [
        Problem(f"/{name}", f"There is no filter {name!r}. Known: {', '.join(known)}.")
        for name in given
        if name not in known
    ]
    empty = [Problem(f"/{name}", f"`{name}` is empty.") for name in names if given.get(name) == ""]
    if unknown or empty:
        raise InvalidRequestError([*unknown, *empty])
    return {name: given.get(name) for name in (*names, "cursor")}


def json_response(
    body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response[str]:
    """Answer with JSON. No cache keeps it: what is true of a run changes, and what is true of a key is nobody's."""
    return Response(
        status_code=status.value,
        content_type="application/json",
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def etag_of(body: Mapping[str, Any]) -> str:
    """Give the entity tag of an answer (RFC 9110, section 8.8.3)."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def entity_tags(header: str) -> frozenset[str]:
    """Give the entity tags of an If-None-Match, compared weakly (RFC 9110, sections 8.8.3.2 and 13.1.2)."""
    return frozenset(tag.strip().removeprefix("W/") for tag in header.split(",") if tag.strip())


def problem(error: ZentriggerError, event: APIGatewayProxyEventV2) -> Response[str]:
    """Answer with a domain error as a problem (RFC 9457)."""
    status = next(code for kind, code in STATUS_OF.items() if isinstance(error, kind))
    headers, extra = {}, {}
    match error:
        case InvalidRequestError() | errors.ConflictError(problems=[_, *_]):
            extra = {"errors": [{"pointer": wrong.pointer, "detail": wrong.detail} for wrong in error.problems]}
        case errors.QueueFullError():
            headers = {"Retry-After": str(error.retry_after_seconds)}
        case errors.BusyError():
            headers = {"Retry-After": "1"}
        case errors.MethodNotAllowedError():
            headers = {"Allow": ", ".join(error.allowed)}
        case errors.UnauthorizedError():
            headers = {"WWW-Authenticate": 'Bearer realm="zentrigger"'}
        case _:
            pass
    name = type(error).__name__.removesuffix("Error")
    kebab = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
    return _problem(
        event, status=status, kind=kebab, title=error.title, detail=error.detail, headers=headers, extra=extra
    )


def _problem(  # noqa: PLR0913 - the members of a problem
    event: APIGatewayProxyEventV2,
    *,
    status: HTTPStatus,
    kind: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response[str]:
    body = {
        "type": _PROBLEM_TYPES + kind,
        "title": title,
        "status": status.value,
        "detail": detail,
        "instance": f"urn:request:{event.request_context.request_id}",
        **(extra or {}),
    }
    return Response(
        status_code=status.value,
        content_type="application/problem+json",
        body=json.dumps(body, ensure_ascii=False),
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
