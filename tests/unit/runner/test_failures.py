"""How failures are put into a record."""

import pytest

from runner.failures import (
    MAX_MESSAGE_BYTES,
    MAX_SENTENCE,
    MAX_TRACEBACK_BYTES,
    Refused,
    bounded,
    cut,
    cut_traceback,
    error_of,
    qualified_name,
    sentence,
)
from zentrigger.runs import Report, RunError


def test_a_short_traceback_is_kept_whole() -> None:
    """Nothing is cut that fits."""
    assert cut_traceback("a\nb") == "a\nb"


@pytest.mark.parametrize("unit", ["x", "ä", "€", "😀"])
def test_a_long_traceback_keeps_both_ends(unit: str) -> None:
    """Where it began and what was raised; never more bytes than allowed, never half a character."""
    text = f"begin{unit * 20_000}end"
    result = cut_traceback(text)
    assert len(result.encode()) <= MAX_TRACEBACK_BYTES
    assert result.startswith("begin")
    assert result.endswith("end")
    assert "left out" in result
    assert "\ufffd" not in result


def test_what_has_no_utf8_form_is_replaced() -> None:
    """A lone surrogate would make the record unwritable."""
    assert cut("a\ud800b", 100, 50) == "a?b"
    assert sentence("a\ud800b") == "a?b"


def test_a_sentence_is_one_bounded_line() -> None:
    """A message is read in a terminal."""
    assert sentence("a\n  b") == "a b"
    assert len(sentence("x" * 5000)) == MAX_SENTENCE


def test_an_exception_is_named_by_its_class() -> None:
    """Built-in ones without their module."""

    class OwnError(Exception):
        pass

    assert qualified_name(ValueError) == "ValueError"
    assert qualified_name(OwnError).endswith("OwnError")
    assert qualified_name(OwnError).startswith(__name__)
    error = error_of(ValueError("bad"), "train")
    assert (error.step, error.type, error.message) == ("train", "ValueError", "bad")


def test_a_refusal_says_everything_somewhere() -> None:
    """What the sentence has no room for stands in the error."""
    short = bounded(Refused("parameters_refused", "Nothing was run.").report())
    assert (short.reason, short.message, short.error) == ("parameters_refused", "Nothing was run.", None)
    long = bounded(Refused("parameters_refused", "x" * 2000).report())
    assert long.message is not None
    assert len(long.message) == MAX_SENTENCE
    assert long.error is not None
    assert (long.error.type, long.error.message) == ("parameters_refused", "x" * 2000)


def test_a_report_is_cut_to_what_the_record_keeps() -> None:
    """The message to a line, the error to its bytes; a report without either stays as it is."""
    error = RunError(step="s", type="ValueError", message="m" * 10_000, traceback="t" * 100_000)
    report = bounded(Report(outcome="failed", reason="pipeline_failed", message="a\nb", error=error))
    assert report.message == "a b"
    assert report.error is not None
    assert (len(report.error.message.encode()), report.error.step) == (MAX_MESSAGE_BYTES, "s")
    assert len(report.error.traceback.encode()) == MAX_TRACEBACK_BYTES
    assert bounded(Report(outcome="succeeded")) == Report(outcome="succeeded")
