"""Triggers: which events concern them, and what they make of one."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests import factories
from tests.factories import MOMENT, TRAINING, content
from zentrigger.errors import InvalidRequestError
from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, WebhookReceived
from zentrigger.submit import run_id_for_event
from zentrigger.triggers import Trigger, check_trigger, model_of


def arrival(key: str = "incoming/a.csv", **values: Any) -> S3Arrival:
    """Make an S3 arrival."""
    s3_object = {"key": key, "size": 7, "etag": "e1", "sequencer": "01"} | values
    return S3Arrival.model_validate(
        {"event_id": "id", "time": MOMENT, "bucket": {"name": "data"}, "object": s3_object, "reason": "PutObject"}
    )


def trigger(**values: Any) -> Trigger:
    """Make an s3 trigger."""
    return factories.trigger(**{"prefix": "incoming/", "suffix": ".csv"} | values)


def test_a_field_that_no_event_has_is_refused_when_saved() -> None:
    """Not when the first object arrives."""
    with pytest.raises(ValidationError, match=r"object\.name"):
        trigger(parameters={"": "{object.name}"})
    with pytest.raises(ValidationError, match=r"object\.name"):
        trigger(parameters={"data_url": "s3://{object.name}"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "schedule", "prefix": "x"}, "prefix"),
        ({"type": "s3", "schedule": "rate(1 hour)"}, "schedule"),
        ({"type": "schedule", "schedule": "cron(0 4 * * *)"}, "fields"),
        ({"type": "schedule", "schedule": "0 4 1 * 1"}, "day"),
        ({"type": "schedule", "time_zone": "Europe/Berlln"}, "Europe/Berlin"),
        ({"type": "schedule", "flexible_window_minutes": 0}, "flexible_window_minutes"),
        ({"type": "s3", "min_size": 2, "max_size": 1}, "no object would do"),
        ({"type": "s3", "reasons": ["Put"]}, "PutObject"),
        ({"type": "s3", "glob": ""}, "glob"),
        ({"type": "run"}, "of"),
        ({"type": "run", "of": {}}, "pipeline, snapshot, tag or trigger"),
        ({"type": "run", "of": {"pipeline": "p"}, "on": ["ended"]}, "succeeded"),
        ({"type": "run", "of": {"pipeline": "p"}, "on": []}, "on"),
        ({"type": "run", "of": {"pipeline": "p"}, "parameters": {"a": "{run.uri}"}}, "run.uri"),
        ({"type": "webhook"}, "signature"),
        ({"type": "webhook", "signature": {"scheme": "hmac"}}, "header"),
        ({"type": "webhook", "signature": {"scheme": "slack"}, "filter": {"ref": ["x"]}}, "ref"),
        ({"type": "webhook", "signature": {"scheme": "slack"}, "filter": {"body.ref": []}}, "body.ref"),
        ({"type": "webhook", "signature": {"scheme": "slack"}, "deduplicate_by": "id"}, "id"),
        ({"type": "s3", "max_runs": 0}, "max_runs"),
        ({"type": "s3", "max_runs_per_hour": 0}, "max_runs_per_hour"),
        ({"type": "s3", "start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-02T00:00:00Z"}, "end_at"),
        ({"type": "s3", "start_at": "2026-01-02T00:00:00"}, "time zone"),
    ],
)
def test_what_makes_no_sense_is_refused_when_saved(values: dict[str, Any], said: str) -> None:
    """Each with the field, or with what would make sense."""
    with pytest.raises(ValidationError) as caught:
        factories.definition(**values)

    assert said in str(caught.value)


@pytest.mark.parametrize("values", [{}, {"type": "cron"}, {"type": ["s3"]}, [], "s3", None])
def test_a_trigger_has_a_type(values: Any) -> None:
    """One of four; without it nothing else can be told."""
    with pytest.raises(InvalidRequestError):
        model_of(values)


@pytest.mark.parametrize(
    ("watched", "written", "refused"),
    [
        ({"prefix": "in/"}, ("s3://data/in/",), 1),
        ({"prefix": ""}, ("s3://data/out/",), 1),
        ({"prefix": "in/deep/"}, ("s3://data/in/",), 1),
        ({"prefix": "in/", "suffix": ".csv"}, ("s3://data/in/deep/",), 1),
        ({"prefix": "in/"}, ("s3://data/out/", "s3://data/inner/"), 0),
        ({"prefix": "in/", "bucket": "data"}, ("s3://other/in/",), 0),
        ({"prefix": "in/", "bucket": "data"}, ("s3://data/",), 1),
    ],
)
def test_a_trigger_may_not_watch_where_its_pipeline_writes(
    watched: dict[str, Any], written: tuple[str, ...], refused: int
) -> None:
    """It would start itself for ever. Where the two cannot be told apart by their places, they count as the same."""
    definition = factories.definition(**watched)

    problems = check_trigger(definition, content(writes=written))

    assert [problem.pointer for problem in problems] == ["/prefix"] * refused


def test_overlap_is_one_of_three() -> None:
    """And allowed unless said, also of a trigger that was made before there was the choice."""
    assert trigger().definition.overlap == "allow"
    with pytest.raises(ValidationError, match="'allow', 'skip' or 'queue'"):
        trigger(overlap="reject")


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"parameters": {"data_url": "s3://{bucket.name}/{object.key}"}}, 0),
        ({"parameters": {"test_size": "{object.size}"}}, 0),
        ({"parameters": {"test_size": "big"}}, 1),
        ({"parameters": {"data": "s3://{bucket.name}"}}, 1),
        ({"parameters": {"data_url": {"parameters": "{object.key}"}}}, 0),
        ({"steps": {"train": {"trees": "{object.size}"}}}, 1),
        ({"steps": {"load_data": {"data_url": "s3://{bucket.name}/{object.key}"}}}, 0),
        ({"steps": {"load_data": {"data_url": 7}}}, 1),
        ({"steps": {"load_data": {"data_url": "{object.key}"}}, "parameters": {"data_url": "{object.key}"}}, 0),
        ({"steps": {"load_data": {"data_url": "{object.key}"}}, "parameters": {"data_url": "{object.etag}"}}, 2),
    ],
)
def test_a_trigger_is_checked_against_its_pipeline(values: dict[str, Any], count: int) -> None:
    """What no event could make right is refused; values that wait for the event are not judged."""
    assert len(check_trigger(trigger(**values).definition, TRAINING)) == count


def test_what_no_trigger_can_set_is_refused_also_as_a_template() -> None:
    """Whatever the event gives: what the body computes, one of two steps, a step of a dynamic pipeline."""
    definition = trigger(steps={"load_data": {"data_url": "{object.key}"}}).definition
    steps = {name: step.model_dump() for name, step in TRAINING.steps.items()}

    for changed in (
        {"steps": steps | {"load_data": {"fixed": ["data_url"]}}},
        {"steps": steps | {"again": {"fixed": ["url"], "passed": {"url": "data_url"}}}},
        {"dynamic": True},
    ):
        assert len(check_trigger(definition, content(**changed))) == 1, changed
    assert check_trigger(definition, TRAINING) == []


def test_a_missing_parameter_is_seen_although_others_wait_for_the_event() -> None:
    """Required parameters must be in the definition."""
    content = TRAINING.model_copy(
        update={
            "parameters_schema": {
                "type": "object",
                "properties": {"data_url": {"type": "string"}, "rows": {"type": "integer"}},
                "required": ["rows"],
            }
        }
    )
    definition = trigger(parameters={"data_url": "s3://{bucket.name}/{object.key}"}).definition

    (problem,) = check_trigger(definition, content)

    assert "rows" in problem.detail


def test_run_ids_follow_from_events() -> None:
    """The same writing gives the same run; another writing, another trigger or another key does not."""
    same = run_id_for_event("t", arrival())
    assert run_id_for_event("t", arrival()) == same
    others = {
        run_id_for_event("u", arrival()),
        run_id_for_event("t", arrival("incoming/b.csv")),
        run_id_for_event("t", arrival(sequencer="02")),
        run_id_for_event("t", arrival(etag="e2")),
        run_id_for_event("t", arrival(**{"version-id": "v1"})),
        run_id_for_event("t", ScheduleFired(event_id="i", time=MOMENT, trigger="t")),
    }
    assert len(others | {same}) == 7
    redelivered = ScheduleFired(event_id="another id", time=MOMENT, trigger="t")
    assert run_id_for_event("t", redelivered) in others
    ended = RunEnded(event_id="i", time=MOMENT, run_id="r")
    assert run_id_for_event("t", ended) == run_id_for_event("t", RunEnded(event_id="j", time=MOMENT, run_id="r"))
    assert run_id_for_event("t", ended) != run_id_for_event("t", RunEnded(event_id="i", time=MOMENT, run_id="s"))


def test_a_webhook_is_known_again_by_what_its_trigger_says() -> None:
    """By that, else by the sender's delivery id, else by our own: a call without any is always a new one."""

    def call(event_id: str, delivery_id: str | None) -> WebhookReceived:
        return WebhookReceived(event_id=event_id, time=MOMENT, trigger="t", receipt_id="r", delivery_id=delivery_id)

    assert run_id_for_event("t", call("1", "d")) == run_id_for_event("t", call("2", "d"))
    assert run_id_for_event("t", call("1", None)) != run_id_for_event("t", call("2", None))
    assert run_id_for_event("t", call("1", "a"), '"x"') == run_id_for_event("t", call("2", "b"), '"x"')
    assert run_id_for_event("t", call("1", "x"), '"x"') != run_id_for_event("t", call("1", "x"))
