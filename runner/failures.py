"""Failures: what went wrong before, in and after a pipeline, in the form that a run's record keeps."""

import traceback

from zentrigger.runs import Report, RunError

MAX_TRACEBACK_BYTES = 16 * 1024
"""A longer traceback keeps its beginning (where it was called) and its end (what was raised)."""

MAX_MESSAGE_BYTES = 4 * 1024
MAX_SENTENCE = 1000

_HEAD_BYTES = 5 * 1024


class Refused(Exception):  # noqa: N818 - what it is, not what went wrong
    """A run that ends before its pipeline has started; the text says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def report(self) -> Report:
        """Give the report of such a run."""
        error = error_of(self.__cause__, step=None) if self.__cause__ is not None else None
        return Report(outcome="failed", reason=self.reason, message=self.message, error=error)


def error_of(error: BaseException, step: str | None) -> RunError:
    """Give an exception as it is reported, in full."""
    return RunError(
        step=step,
        type=qualified_name(type(error)),
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
    )


def bounded(report: Report) -> Report:
    """Cut a report to what a run's record keeps; secrets must be out of it already, for a part of one is not found.

    What a message's sentence has no room for goes into the error, if there is no other.
    """
    error = report.error
    message = None if report.message is None else sentence(report.message)
    if error is not None:
        error = error.model_copy(
            update={"message": _cut_message(error.message), "traceback": cut_traceback(error.traceback)}
        )
    elif report.message is not None and message != report.message:
        error = RunError(type=report.reason or report.outcome, message=_cut_message(report.message))
    return report.model_copy(update={"message": message, "error": error})


def qualified_name(kind: type[BaseException]) -> str:
    """Give the name of an exception's class: `ValueError`, `pipelines.tables.TableError`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def cut_traceback(text: str) -> str:
    """Cut a traceback to `MAX_TRACEBACK_BYTES` of UTF-8, keeping both ends."""
    return cut(text, MAX_TRACEBACK_BYTES, _HEAD_BYTES)


def _cut_message(text: str) -> str:
    return cut(text, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES // 2)


def cut(text: str, limit: int, head: int) -> str:
    """Cut a text to `limit` bytes of UTF-8, keeping `head` bytes of its beginning and as much as fits of its end.

    What has no UTF-8 form (lone surrogates) becomes a question mark.
    """
    content = text.encode("utf-8", "replace")
    if len(content) <= limit:
        return content.decode("utf-8")
    note = f"\n… {len(content) - limit} bytes and more left out …\n"
    tail = limit - head - len(note.encode())
    return content[:head].decode("utf-8", "ignore") + note + content[-tail:].decode("utf-8", "ignore")


def sentence(text: str) -> str:
    """Give a text as a message for a person: one line, of bounded length."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= MAX_SENTENCE else f"{line[: MAX_SENTENCE - 1]}…"
