"""The way of every AWS call of the product: one place that counts them, and may end the process that makes one.

A client here stands for boto3's: it sends a request as often as the SDK would, without the pauses, and lets faults
happen to each sending. All that is one call: a process dies before it was made, or after it was done and before the
answer was there.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from local.api_faults import ErrorAnswer, NoAnswerError, with_faults
from local.faults import Faults

Answer = TypeVar("Answer")
When = Literal["before", "after"]

_SENT_AGAIN = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException"})
"""Error codes after which the SDK sends again, of those that the faults have; and after each HTTP 500."""


_READING = frozenset({"BatchGetItem", "DescribeTasks", "GetItem", "ListTasks", "Query"})


class Killed(BaseException):
    """The process is gone, in the middle of a call. It is no Exception: nothing of the process may catch it."""


@dataclass(frozen=True)
class Call:
    """One AWS call: which in the schedule, by which process, what."""

    index: int
    process: str
    action: str
    """`dynamodb.TransactWriteItems`."""
    invocation: int = 0
    """Which part of a process without others in between: an invocation of a function, a step of a runner."""

    @property
    def changes(self) -> bool:
        """Whether the call may change something, rather than only read."""
        return self.action.partition(".")[2] not in _READING

    def __str__(self) -> str:
        return f"call {self.index} ({self.action} of {self.process})"


@dataclass(frozen=True)
class _Process:
    name: str
    alive: Callable[[], bool]
    invocation: int


@dataclass
class _Late:
    call: Call
    left: int
    send: Callable[[], object]


class Calls:
    """All AWS calls of a schedule, in their order; something may be planned before and after each.

    `between` is called with each of them: time passes.
    """

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self.made: list[Call] = []
        self.kills: list[str] = []
        """Which processes were ended, and where."""
        self._between = between
        self._processes: list[_Process] = []
        self._invocations = 0
        self._plans: dict[tuple[int, When], Callable[[], None]] = {}
        self._late: dict[int, int] = {}
        self._in_flight: list[_Late] = []
        self.landing: Call | None = None
        """The call that just arrives, though its process is gone."""

    def kill(self, index: int, when: When) -> None:
        """Have the process that makes this call end before it is made, or after it was done."""
        self._plans[index, when] = self._kill

    def kill_in_flight(self, index: int, changes_later: int) -> None:
        """Have the process that makes this call end with its request under way.

        It is done just before the nth call that changes something from then on: between what another process has read
        and what it does about it. What a function sends arrives before the clock is put forward; what a task sends may
        come much later, as from one whose host ECS has given up.
        """
        self._late[index] = changes_later

    def land(self, *, of_functions: bool = False) -> None:
        """Let requests arrive whose time has come, of processes that are gone."""
        due = [late for late in self._in_flight if late.left <= 0 or (of_functions and late.call.process != "runner")]
        for late in due:
            self._in_flight.remove(late)
            self.landing = late.call
            # Nobody is there to hear of an error.
            with suppress(ClientError, BotoCoreError):
                late.send()
            self.landing = None

    def interrupt(self, index: int, when: When, action: Callable[[], None]) -> None:
        """Have something else happen meanwhile: what other processes do between two calls of this one."""
        self._plans[index, when] = action

    def run(self, process: str, work: Callable[[], Answer], alive: Callable[[], bool] = lambda: True) -> Answer:
        """Run a process, or a part of one; raises Killed. One that is no longer alive makes no further call."""
        self._invocations += 1
        self._processes.append(_Process(process, alive, self._invocations))
        try:
            return work()
        finally:
            self._processes.pop()

    @property
    def process(self) -> str:
        """Name the process that is at work."""
        return self._processes[-1].name if self._processes else "nobody"

    @property
    def last(self) -> str:
        """Say which call was the last one."""
        return str(self.made[-1]) if self.made else "before any call"

    def call(self, action: str, send: Callable[[], Answer]) -> Answer:
        """Make a call; raises Killed where that was planned."""
        invocation = self._processes[-1].invocation if self._processes else 0
        call = Call(len(self.made), self.process, action, invocation)
        self.made.append(call)
        self._between()
        self._pass(call, "before")
        for late in self._in_flight:
            late.left -= call.changes
        self.land()
        if call.index in self._late:
            self._in_flight.append(_Late(call, self._late.pop(call.index), send))
            self.kills.append(f"with {call} in flight")
            raise Killed
        try:
            answer = send()
        except Exception:
            self._pass(call, "after")
            raise
        self._pass(call, "after")
        return answer

    def _pass(self, call: Call, when: When) -> None:
        planned = self._plans.pop((call.index, when), None)
        if planned == self._kill:
            self.kills.append(f"{when} {call}")
        if planned is not None:
            planned()
        if self._processes and not self._processes[-1].alive():
            raise Killed

    def _kill(self) -> None:
        raise Killed


class Client:
    """A client of one service, as boto3 gives it; `model` has the service's actions by boto3's names.

    A model whose name of service is given lets no faults happen by itself; they happen here.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        model: Any,
        calls: Calls,
        *,
        service: str,
        attempts: int,
        faults: Faults | None = None,
        record: Callable[[str, dict[str, Any], Any], None] | None = None,
    ) -> None:
        self._model = model
        self._calls = calls
        self._service = service
        self._attempts = attempts
        self._faults = faults
        self._record = record

    def __getattr__(self, name: str) -> Callable[..., Any]:
        action = "".join(part.capitalize() for part in name.split("_"))

        def call(**asked: Any) -> Any:
            return self._calls.call(f"{self._service}.{action}", lambda: self._sent(name, action, asked))

        # So that the next use of the same action finds it made.
        self.__dict__[name] = call
        return call

    def get_paginator(self, name: str) -> "_Pages":
        """Give the pages of a query."""
        return _Pages(getattr(self, name))

    def _sent(self, name: str, action: str, asked: dict[str, Any]) -> Any:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._send(name, action, asked)
            except ClientError as error:
                passing = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
                if attempt == self._attempts or not (passing or error.response["Error"]["Code"] in _SENT_AGAIN):
                    raise
            except BotoCoreError:
                if attempt == self._attempts:
                    raise
        raise AssertionError("the last attempt has answered or raised")

    def _send(self, name: str, action: str, asked: dict[str, Any]) -> Any:
        if self._faults is None:
            return self._recorded(name, asked)
        try:
            answer = with_faults(
                self._faults, self._service, action, lambda: asked, lambda: self._recorded(name, asked)
            )
        except NoAnswerError as lost:
            raise ReadTimeoutError(endpoint_url=f"https://{self._service}", error=lost) from lost
        if isinstance(answer, ErrorAnswer):
            body = dict(answer.body)
            code = body.pop("__type").rpartition("#")[2]
            told: Any = {
                "Error": {"Code": code, "Message": body.get("message", "")},
                "ResponseMetadata": {"HTTPStatusCode": answer.status},
                **body,
            }
            raise ClientError(told, action)
        return answer

    def _recorded(self, name: str, asked: dict[str, Any]) -> Any:
        if self._record is None:
            return getattr(self._model, name)(**asked)
        try:
            answer = getattr(self._model, name)(**asked)
        except ClientError as error:
            self._record(name, asked, error)
            raise
        self._record(name, asked, answer)
        return answer


@dataclass(frozen=True)
class _Pages:
    """A paginator: here all that there is fits on one page."""

    query: Callable[..., Any]

    def paginate(self, **asked: Any) -> Iterator[Any]:
        """Give the pages."""
        limits = asked.pop("PaginationConfig")
        yield self.query(**asked, Limit=limits["MaxItems"])
