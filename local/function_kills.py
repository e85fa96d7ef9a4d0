"""Functions that are killed in mid-call: the call was never made, or it was done and nobody heard the answer.

A call says which invocation makes it: Lambda gives each a trace id, which the SDK sends along (AWS Lambda Developer
Guide, "Using Lambda recursive loop detection"; AWS X-Ray Developer Guide, "Tracing header").
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from local.api_faults import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.faults import Faults
    from local.functions import Functions

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class FunctionKills:
    """Kills the process that makes a call, with SIGKILL, where a fault says so."""

    def __init__(self, faults: Faults, functions: Functions) -> None:
        self._faults = faults
        self._functions = functions

    def answer(self, trace_id: str | None, action: str, answer: Callable[[], Answer]) -> Answer:
        """Answer a call, unless its caller does not live to hear it; raises NoAnswerError then."""
        if trace_id is None:
            return answer()
        self._pass("killed_before", trace_id, action)
        answered = answer()
        self._pass("killed_after", trace_id, action)
        return answered

    def _pass(self, fault: str, trace_id: str, action: str) -> None:
        caller = self._functions.caller(trace_id)
        if caller is None:
            return
        function, worker = caller
        if self._faults.happens("lambda", fault, action, function, f"{function}@{action}"):
            logger.info("%s is killed at %s (%s).", function, action, fault)
            worker.kill()
            raise NoAnswerError(f"the answer of {action}: its caller is dead")
