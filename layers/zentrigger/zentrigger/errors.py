"""What can go wrong, in the domain's words. `http` alone knows which status code each of them is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a request: where (a JSON pointer, RFC 6901) and what to do about it."""

    pointer: str
    detail: str


class UnknownName(Problem):
    """A name that nothing here has: wrong whatever its value is."""


class NotSettable(Problem):
    """Something that cannot be set here, or not to different values: wrong whatever the value is."""


class ZentriggerError(Exception):
    """Base of all errors whose text may be shown to the caller."""

    title = "Something is wrong"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnreadableError(ZentriggerError):
    """The body is not what its content type says."""

    title = "The request cannot be read"


class UnsupportedMediaTypeError(ZentriggerError):
    """The body is of a type that this call does not take."""

    title = "The content type is not supported"


class TooLargeError(ZentriggerError):
    """The body, or a part of it, is larger than it may be."""

    title = "The request is too large"


class InvalidRequestError(ZentriggerError):
    """The request can be read but is wrong, in one place or several."""

    title = "The request is not valid"

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(self.problems[0].detail if count == 1 else f"{count} things are wrong; see errors")


class IdempotencyClashError(ZentriggerError):
    """An idempotency key was used before, for another request, whose run is `run_id`."""

    title = "The idempotency key is taken"

    def __init__(self, detail: str, run_id: str) -> None:
        super().__init__(detail)
        self.run_id = run_id


class UnauthorizedError(ZentriggerError):
    """No API key, or none that is known."""

    title = "An API key is needed"


class ForbiddenError(ZentriggerError):
    """The API key is good, but not for this."""

    title = "The API key may not do this"


class NotFoundError(ZentriggerError):
    """What was asked for is not there, or not for this key to see."""

    title = "Not found"


class MethodNotAllowedError(ZentriggerError):
    """The path exists, but not for this method."""

    title = "The method is not allowed"

    def __init__(self, detail: str, allowed: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allowed = allowed


class ConflictError(ZentriggerError):
    """The thing is not in a state in which this can be done. `problems` has what stands in the way, if several."""

    title = "This cannot be done now"

    def __init__(self, detail: str, problems: tuple[Problem, ...] | list[Problem] = ()) -> None:
        super().__init__(detail)
        self.problems = tuple(problems)


class QueueFullError(ZentriggerError):
    """No slot is free and no further run may wait. Nothing was written."""

    title = "Too many runs are waiting"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class BusyError(ZentriggerError):
    """A store was too busy to answer, also after retries.

    As a rule nothing was written; but a first send may have been, whose answer was lost before the store was busy.
    """

    title = "Busy"


class UnavailableError(BusyError):
    """A service of AWS did not answer, or would not do what it was asked just now. Nothing was written."""

    title = "AWS does not answer"
