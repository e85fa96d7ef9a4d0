"""Which events concern a trigger, which pass its filter, and what its templates see of them."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.factories import MOMENT, run, run_input, trigger
from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.json_paths import find
from zentrigger.matching import MAX_CHAIN, concerns, document_of, mismatch, refused_chain
from zentrigger.runs import Report, RunRecord, Source

CALL = WebhookReceived(
    event_id="c",
    time=MOMENT,
    trigger="hook",
    receipt_id="r",
    delivery_id="d",
    headers={"x-kind": "push"},
    body={"ref": "main", "count": 1, "list": [{"a": None}]},
)
FIRED = ScheduleFired(event_id="f", time=MOMENT, trigger="nightly")
ENDED = RunEnded(event_id="x", time=MOMENT, run_id="r1")
HOOK: dict[str, Any] = {"type": "webhook", "signature": {"scheme": "github"}}


def arrival(key: str = "in/a.csv", **values: Any) -> S3Arrival:
    """Make an arrival."""
    told = {"reason": values.pop("reason", "PutObject")}
    s3_object = {"key": key, "size": 7, "etag": "e", "sequencer": "1"} | values
    return S3Arrival.model_validate(
        {"event_id": "a", "time": MOMENT, "bucket": {"name": "data"}, "object": s3_object} | told
    )


def record(**values: Any) -> RunRecord:
    """Make the record of a run that succeeded."""
    outputs = values.pop("outputs", ())
    ended = {"run_id": "r1", "status": "succeeded", "ended_at": MOMENT, "tags": ("nightly",)}
    report = Report.model_validate({"outcome": "succeeded", "outputs": outputs, "zenml_run_id": "z"})
    return RunRecord(run=run(**ended | values), input=run_input(parameters={"rate": 0.5}), result=report)


@pytest.mark.parametrize("event", [arrival(), FIRED, CALL, ENDED])
def test_an_event_concerns_triggers_of_its_type_alone(event: TriggerEvent) -> None:
    """A schedule and a call name theirs; all others of the type are left alone."""
    candidates = {
        S3Arrival: trigger("any"),
        ScheduleFired: trigger("nightly", type="schedule"),
        WebhookReceived: trigger("hook", **HOOK),
        RunEnded: trigger("after", type="run", of={"pipeline": "training_pipeline"}),
    }
    for kind, candidate in candidates.items():
        assert concerns(candidate, event, record()) is isinstance(event, kind)
    assert not concerns(trigger("other", type="schedule"), FIRED)
    assert not concerns(trigger("other", **HOOK), CALL)
    assert not concerns(trigger("hook", type="schedule"), CALL)


def test_the_end_of_a_run_without_a_record_concerns_nobody() -> None:
    """Whatever the event says."""
    assert not concerns(trigger(type="run", of={"pipeline": "training_pipeline"}), ENDED, None)


@pytest.mark.parametrize(
    ("values", "event", "why"),
    [
        ({}, arrival(), None),
        ({"prefix": "in/", "suffix": ".csv"}, arrival(), None),
        ({"prefix": "out/"}, arrival(), "'out/'"),
        ({"prefix": "IN/"}, arrival(), "'IN/'"),
        ({"suffix": ".json"}, arrival(), "'.json'"),
        ({"glob": "in/*.csv"}, arrival(), None),
        ({"glob": "*.csv"}, arrival(), "'*.csv'"),
        ({}, arrival("in/"), "folder"),
        ({"prefix": "in/"}, arrival("in/sub/", size=0), "folder"),
        ({"min_size": 7, "max_size": 7}, arrival(), None),
        ({"min_size": 8}, arrival(), "7 bytes, less than 8"),
        ({"max_size": 6}, arrival(), "7 bytes, more than 6"),
        ({"max_size": 0}, arrival(size=0), None),
        ({"min_size": 0}, arrival(size=0), None),
        ({"min_size": 1}, arrival(size=0), "less than 1"),
        ({"reasons": ["CopyObject", "PutObject"]}, arrival(), None),
        ({"reasons": ["CopyObject"]}, arrival(), "CopyObject"),
        ({"reasons": ["CopyObject"]}, arrival(reason=""), "unknown way"),
    ],
)
def test_what_of_the_arrivals_passes(values: dict[str, Any], event: S3Arrival, why: str | None) -> None:
    """Or why it does not: one sentence, of the first rule that refuses it."""
    of = trigger(**values)

    said = mismatch(of, event, document_of(of.name, event))

    assert said is None if why is None else said is not None and why in said


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({}, None),
        ({"body.ref": ["dev", "main"]}, None),
        ({"body.ref": ["dev"]}, "body.ref"),
        ({"body.count": [1.0]}, None),
        ({"body.count": [True]}, "body.count"),
        ({"body.count": ["1"]}, "body.count"),
        ({"body.list.0.a": [None]}, None),
        ({"body.list.1.a": [None]}, "list of 1"),
        ({"header.x-kind": ["push"], "body.ref": ["main"]}, None),
        ({"header.x-kind": ["push"], "body.ref": ["x"]}, "body.ref"),
        ({"header.x-other": ["push"]}, "x-other"),
        ({"body": [{"ref": "main", "count": 1, "list": [{"a": None}]}]}, None),
    ],
)
def test_what_of_the_calls_passes(wanted: dict[str, Any], why: str | None) -> None:
    """All paths have to lead to one of their values; a sentence about the first that does not, without the value."""
    of = trigger("hook", **HOOK, filter=wanted)

    said = mismatch(of, CALL, document_of(of.name, CALL))

    assert said is None if why is None else said is not None and why in said
    assert "main" not in (said or "")


@pytest.mark.parametrize(
    "values",
    [
        {**HOOK, "filter": {"body..ref": ["x"]}},
        {**HOOK, "filter": {"body.": ["x"]}},
        {**HOOK, "filter": {"header.X-Kind": ["push"]}},
        {**HOOK, "filter": {"header.x-kind": [1]}},
        {**HOOK, "deduplicate_by": "body..id"},
        {**HOOK, "filter": {"body." + ".".join("a" * 30): ["x"]}},
        {"suffix": "/"},
        {"type": "run", "of": {"pipeline": None}},
    ],
)
def test_a_filter_that_nothing_or_everything_would_pass_is_refused(values: dict[str, Any]) -> None:
    """When the trigger is put, not when the first event is missed."""
    with pytest.raises(ValidationError):
        trigger(**values)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_which_ends_pass(status: str) -> None:
    """Those that `on` has, by the record."""
    for on in ("succeeded", "failed", "cancelled"):
        of = trigger(type="run", of={"tag": "nightly"}, on=[on])
        upstream = record(status=status)
        said = mismatch(of, ENDED, document_of(of.name, ENDED, upstream), upstream)
        assert (said is None) is (on == status)
        assert said is None or (status in said and on in said)


def test_a_run_that_was_skipped_is_none_that_was_cancelled() -> None:
    """It is recorded as cancelled and never ran: what is to follow a cancelled run has nothing to follow."""
    of = trigger(type="run", of={"tag": "nightly"}, on=["succeeded", "failed", "cancelled"])
    upstream = record(status="cancelled", reason="skipped_overlap")

    said = mismatch(of, ENDED, document_of(of.name, ENDED, upstream), upstream)

    assert "never ran" in str(said)


def test_templates_see_a_run_by_its_record() -> None:
    """Outputs by step and name, those of the pipeline itself by name alone; a value of null is one, an URI is not."""
    outputs = [
        {"name": "model", "step": "train", "artifact_id": "a1", "uri": "s3://m"},
        {"name": "score", "step": "train", "value": None},
        {"name": "table", "value": [1]},
    ]

    seen = document_of("after", ENDED, record(outputs=outputs))

    assert find(seen, "run.outputs") == {
        "train": {"model": {"artifact_id": "a1", "uri": "s3://m", "value": None}, "score": {"value": None}},
        "table": {"value": [1]},
    }
    told = {
        name: find(seen, f"run.{name}")
        for name in ("id", "pipeline", "snapshot", "status", "reason", "attempt", "tags", "trigger", "zenml_run_id")
    }
    assert told == {
        "id": "r1",
        "pipeline": "training_pipeline",
        "snapshot": "training_pipeline:1",
        "status": "succeeded",
        "reason": None,
        "attempt": 1,
        "tags": ["nightly"],
        "trigger": None,
        "zenml_run_id": "z",
    }
    assert find(seen, "run.parameters.rate") == 0.5
    assert find(seen, "run.ended_at") == "2026-11-20T12:00:00.000000Z"


def test_templates_see_a_run_without_a_report() -> None:
    """It was cancelled before it began: no outputs, and all that every run has."""
    upstream = RunRecord(run=run(status="cancelled"), input=run_input())

    seen = document_of("after", ENDED, upstream)

    assert (find(seen, "run.outputs"), find(seen, "run.ended_at"), find(seen, "run.zenml_run_id")) == ({}, None, None)


def test_templates_see_calls_and_firings() -> None:
    """The body as it came, and the headers; of a firing only when it was to be."""
    seen = document_of("hook", CALL)
    assert (find(seen, "body"), find(seen, "header.x-kind"), find(seen, "event.delivery")) == (CALL.body, "push", "d")
    assert document_of("nightly", FIRED) == {
        "trigger": "nightly",
        "event": {"id": "f", "time": "2026-11-20T12:00:00.000000Z"},
    }


def test_a_version_that_says_nothing_is_none() -> None:
    """Where versioning is suspended every writing is of the version "null"."""
    event = arrival(**{"version-id": "null"})

    assert event.object.version_id is None
    assert find(document_of("t", event), "object.version-id") is None


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        ((), None),
        (("a",), None),
        (("t",), "t -> t"),
        (("a", "t", "b"), "t -> b -> t"),
        (tuple("abcdefghi"), None),
        (tuple("abcdefghij"), "10 triggers"),
    ],
)
def test_a_trigger_follows_itself_never_and_others_ten_at_most(chain: tuple[str, ...], why: str | None) -> None:
    """Whatever lies between."""
    upstream = record(source=Source(type="run", trigger="x", run_id="r0", chain=chain))

    said = refused_chain(trigger("t", type="run", of={"tag": "x"}), upstream)

    assert said is None if why is None else said is not None and why in said
    assert MAX_CHAIN == 10


def test_the_time_of_a_trigger_is_half_open() -> None:
    """From `start_at` on, until before `end_at`."""
    lasts = trigger(start_at=MOMENT, end_at=MOMENT + timedelta(hours=1)).definition.lasts_at

    assert [lasts(MOMENT + timedelta(minutes=minutes)) for minutes in (-1, 0, 59, 60)] == [False, True, True, False]
