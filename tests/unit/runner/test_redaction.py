"""What is secret in a task's environment is told nobody, in whatever form it turns up."""

import json
import logging
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.failures import Refused
from runner.redaction import HIDDEN, MAX_PARTS, RedactingFormatter, Redaction
from zentrigger.runs import Output, Progress, Report, RunError, StepProgress
from zentrigger.timestamps import now

VALUE = 'p/ä"s\\s w+rd=?'
SECRET_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40)


def test_a_value_is_hidden_wherever_it_stands_in_a_report() -> None:
    """In messages, errors, tracebacks, values and their keys; what is the runner's own word stays."""
    report = Report(
        outcome="failed",
        reason="pipeline_failed",
        message=f"with {VALUE}!",
        outputs=(
            Output(name="o", step="s", value={"deep": [f"a{VALUE}", 1, None], VALUE: True}, uri=f"s3://b/{VALUE}"),
        ),
        error=RunError(step="s", type="KeyError", message=repr(VALUE), traceback=f"line\n{VALUE}\n"),
        dashboard_url=f"https://zenml.example.com/?x={quote(VALUE)}",
    )

    told = Redaction([VALUE]).told(report)

    assert told == Report(
        outcome="failed",
        reason="pipeline_failed",
        message=f"with {HIDDEN}!",
        outputs=(Output(name="o", step="s", value={"deep": [f"a{HIDDEN}", 1, None], HIDDEN: True}, uri="s3://b/***"),),
        error=RunError(step="s", type="KeyError", message=f"'{HIDDEN}'", traceback=f"line\n{HIDDEN}\n"),
        dashboard_url="https://zenml.example.com/?x=***",
    )


def test_progress_is_told_without_the_values() -> None:
    """The name of a step may be made from data, in a dynamic pipeline; its status and times are kept."""
    step = StepProgress(name=f"train_{VALUE}", status="running", started_at=now())
    progress = Progress(heartbeat_at=now(), steps=(step,), zenml_run_id="1")
    assert Redaction([VALUE]).told(progress) == progress.model_copy(
        update={"steps": (step.model_copy(update={"name": "train_***"}),)}
    )


@pytest.mark.parametrize("own_word", ["failed", "pipeline_failed", "0d5f5a0e"])
def test_a_value_that_is_a_word_of_ours_does_not_spoil_the_report(own_word: str) -> None:
    """Somebody's password is `failed`."""
    report = Report(outcome="failed", reason="pipeline_failed", zenml_run_id="0d5f5a0e", message=own_word)
    assert Redaction([own_word]).told(report) == report.model_copy(update={"message": HIDDEN})


@given(value=SECRET_TEXTS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_every_form_of_every_value_is_hidden(value: str, before: bytes, after: bytes) -> None:
    """Escaped as in JSON and Python, URL-quoted, and in base64 behind whatever stands before it, as in basic auth."""
    redaction = Redaction([value])
    for form in (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
    ):
        hidden = redaction.text(f"<{form}>")
        assert HIDDEN in hidden
        # A value like ****a holds what hides it.
        assert form not in hidden or form in f"<{HIDDEN}>"
    for encode in (b64encode, urlsafe_b64encode):
        assert HIDDEN in redaction.text(encode(before + value.encode() + after).decode())


@given(value=SECRET_TEXTS, text=st.text(max_size=200))
def test_no_text_grows(value: str, text: str) -> None:
    """What fits into a record still fits without the values."""
    assert len(Redaction([value]).text(text + value)) < len(text + value)


def test_the_parts_of_a_secret_are_secret() -> None:
    """The lines of a key file, the password in a database's secret; not the name of the database."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    database = json.dumps({"engine": "postgres", "username": "training", "password": "correct-horse", "port": 5432})
    redaction = Redaction([key, database])
    assert redaction.text("got hkiG9w0BAQEFAASC and correct-horse") == f"got {HIDDEN} and {HIDDEN}"
    assert redaction.text(" ".join(key.split())) == HIDDEN
    assert redaction.text("training on postgres at 5432") == "training on postgres at 5432"


def test_all_of_nested_json_is_secret() -> None:
    """Objects in objects, lists, JSON and key files in texts; numbers of four digits and more, in a text or not."""
    inner = json.dumps({"token": "in-the-inner-text"})
    secret = {
        "databases": [{"host": {"key": "below-a-host"}, "port": 5432, "pin": 4711, "ratio": 0.12345}, ["in-a-list"]],
        "account": {"private_key": "-----BEGIN-----\nMIIEvQIBADANBgkq\n-----END-----\n", "config": inner},
        "number": "0815",
        "small": [255, 0.25, True, None, "short"],
    }
    redaction = Redaction([json.dumps(secret, indent=1)])
    for part in ("below-a-host", "4711", "0.12345", "in-a-list", "MIIEvQIBADANBgkq", "in-the-inner-text", "0815"):
        assert redaction.text(f"<{part}>") == f"<{HIDDEN}>", part
    assert redaction.text("5432 255 0.25 true null short") == "5432 255 0.25 true null short"


@pytest.mark.parametrize("value", [json.dumps({"pin": 471100}), "471100", json.dumps([471100.0])])
def test_a_number_that_is_secret_is_hidden_in_outputs(value: str) -> None:
    """As text, wherever it stands, whole or with a point; other numbers stay numbers, also those it is a part of."""
    outputs = [471100, {"a": [471100.0, 1471100, 0.471100, 7, True]}, "it is 471100"]
    report = Report(outcome="succeeded", outputs=tuple(Output(name="o", value=output) for output in outputs))
    told = Redaction([value]).told(report)
    hidden = [HIDDEN, {"a": [HIDDEN, 1471100, 0.4711, 7, True]}, f"it is {HIDDEN}"]
    assert [output.value for output in told.outputs] == hidden


def test_true_is_no_number() -> None:
    """Nor a text, whatever somebody's secret is."""
    report = Report(outcome="succeeded", outputs=(Output(name="o", value=[True, "true"]),))
    (output,) = Redaction(["true"]).told(report).outputs
    assert output.value == [True, HIDDEN]


@pytest.mark.parametrize("secret", ["[" * 50_000, "9" * 5_000, f"[{'9' * 400}, 1e999, NaN]"])
def test_no_secret_is_too_strange(secret: str) -> None:
    """Neither nested without end, nor a number beyond all others."""
    assert Redaction([secret]).text(secret) == HIDDEN


def test_a_secret_with_very_many_parts_does_not_hold_the_runner_up() -> None:
    """The longest parts are hidden one by one, and the whole of it anyway."""
    parts = [f"part-{number}" for number in range(1000, 1100 + MAX_PARTS)]
    secret = json.dumps([*parts, "the longest of all"])
    redaction = Redaction([secret])
    assert redaction.text("the longest of all") == HIDDEN
    assert redaction.text(f"<{secret}>") == f"<{HIDDEN}>"
    assert sum(redaction.text(part) == HIDDEN for part in parts) == MAX_PARTS - 1


def test_a_short_value_is_left() -> None:
    """It would be found in every other word."""
    assert Redaction(["abc", ""]).text("abcdef") == "abcdef"


def test_the_values_come_from_the_environment() -> None:
    """Those of the snapshot's variables, and the key of the ZenML server; nothing else of the environment."""
    redaction = Redaction.of_task(["TOKEN"], {"TOKEN": "t0k3n", "ZENML_STORE_API_KEY": "ZENKEY_x", "HOME": "/home/me"})
    assert redaction.text("t0k3n ZENKEY_x /home/me") == f"{HIDDEN} {HIDDEN} /home/me"
    assert "t0k3n" not in f"{redaction!r} {redaction}"


def test_every_variable_that_is_missing_is_named() -> None:
    """All at once, and nothing is run."""
    with pytest.raises(Refused, match="lacks A, C, which") as refusal:
        Redaction.of_task(["C", "B", "A"], {"B": "here"})
    assert refusal.value.reason == "secrets_unreadable"
    assert "here" not in refusal.value.message


def test_the_runners_log_shows_no_value() -> None:
    """Nor the traceback that stands in it."""
    formatter = RedactingFormatter("runner: %(message)s", Redaction(["t0k3n"]))
    error = ValueError("no t0k3n")
    information = (ValueError, error, error.__traceback__)
    text = formatter.format(logging.LogRecord("runner", 30, __file__, 1, "with %s", ("t0k3n",), information))
    assert text == f"runner: with {HIDDEN}\nValueError: no {HIDDEN}"
