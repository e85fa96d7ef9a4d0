"""Triggers: which events concern them, and what they make of one."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.factories import MOMENT, TRAINING, content
from zentrigger.events import S3Arrival, ScheduleFired
from zentrigger.submit import run_id_for_event
from zentrigger.triggers import Trigger, TriggerDefinition, check_trigger, concerns, fields_of, render


def arrival(key: str = "incoming/a.csv", **values: Any) -> S3Arrival:
    """Make an S3 arrival."""
    s3_object = {"key": key, "size": 7, "etag": "e1", "sequencer": "01"} | values
    return S3Arrival.model_validate(
        {"event_id": "id", "time": MOMENT, "bucket": {"name": "data"}, "object": s3_object, "reason": "PutObject"}
    )


def trigger(**values: Any) -> Trigger:
    """Make an s3 trigger."""
    definition = {"type": "s3", "pipeline": "training_pipeline", "prefix": "incoming/", "suffix": ".csv"} | values
    return Trigger(name="arrivals", definition=TriggerDefinition.model_validate(definition), updated_at=MOMENT)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("incoming/a.csv", True),
        ("incoming/deep/er/a.csv", True),
        ("incoming/ümläut + 100% (1).csv", True),
        ("incoming/../a.csv", True),
        ("outgoing/a.csv", False),
        ("incoming/a.CSV", False),
        ("incoming/folder.csv/", False),
    ],
)
def test_prefix_and_suffix_choose(key: str, expected: bool) -> None:
    """Keys are compared as they are; "folders" never start anything."""
    assert concerns(trigger(), arrival(key)) is expected


def test_a_trigger_may_name_its_bucket() -> None:
    """Then no other bucket's objects concern it."""
    assert not concerns(trigger(bucket="other"), arrival())


def test_templates_are_filled_and_keep_types() -> None:
    """A text that is one field keeps its type; what a field holds is not looked at again."""
    fields = fields_of(trigger(), arrival("incoming/{object.size}.csv"))

    assert render({"a": ["s3://{bucket.name}/{object.key}", "{object.size}", 3, None]}, fields) == {
        "a": ["s3://data/incoming/{object.size}.csv", 7, 3, None]
    }


def test_a_field_that_no_event_has_is_refused_when_saved() -> None:
    """Not when the first object arrives."""
    with pytest.raises(ValidationError, match=r"object\.name"):
        trigger(parameters={"": "{object.name}"})
    with pytest.raises(ValidationError, match=r"object\.name"):
        trigger(parameters={"data_url": "s3://{object.name}"})
    with pytest.raises(ValidationError, match="schedule"):
        TriggerDefinition.model_validate({"type": "schedule", "pipeline": "p", "prefix": "x"})


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
