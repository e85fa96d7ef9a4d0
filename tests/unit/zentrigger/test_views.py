"""What callers are shown of pipelines, snapshots and runs."""

import json
from datetime import datetime, timedelta
from typing import Any

from tests.factories import MOMENT, TASK, TRAINING, content, pipeline, run, run_input, snapshot, trigger
from zentrigger.catalogue import PublishedPipeline
from zentrigger.discovery import Found
from zentrigger.pointers import HistoryEntry, MovedChoice
from zentrigger.publishing import Publication
from zentrigger.receipts import MAX_DETAIL
from zentrigger.run_requests import RunRequest
from zentrigger.runs import Attempt, Progress, Run, RunRecord, StepProgress, Timings
from zentrigger.schema_changes import Change
from zentrigger.timestamps import to_text
from zentrigger.track_record import TrackRecord, track_record
from zentrigger.trial import Trial
from zentrigger.trigger_writer import TriggerChange, TriggerChanges
from zentrigger.triggers import Trigger, UnreadableTrigger
from zentrigger.views import (
    history_view,
    pipeline_details,
    pipeline_summary,
    publication_view,
    run_details,
    run_summary,
    snapshot_details,
    snapshot_in_list,
    snapshot_summary,
    trials_view,
    trigger_changes_view,
)

NO_RUNS = TrackRecord(None, 0, 0, 0)
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:p"
CHANGE = Change(kind="removed", pointer="/parameters/x", breaking=True, detail="Gone.")


def test_a_snapshot_is_shown_whole() -> None:
    """Schemas, steps, configuration, image, secrets' variables and ARNs, an example, and how it went."""
    one = run(snapshot="training_pipeline:2", status="succeeded", ended_at=MOMENT)
    of = content(secrets={"TOKEN": SECRET}, resources={"cpu": 256, "memory": 512}, timeout_seconds=60)
    shown = snapshot_details(Found(snapshot(of, 2, name="n", tags=("t",)), pipeline(newest=2), track_record([one])))

    assert (shown["id"], shown["name"], shown["tags"], shown["newest"]) == ("training_pipeline:2", "n", ["t"], True)
    for name in ("parameters_schema", "steps", "configuration", "image", "secrets", "resources", "timeout_seconds"):
        assert shown[name] == of.model_dump(mode="json")[name]
    assert shown["task_definition"].startswith("arn:")
    assert shown["example"]["request"]["pipeline"] == "training_pipeline"
    assert shown["runs"] == {
        "last": {
            "run_id": one.run_id,
            "status": "succeeded",
            "accepted_at": "2026-11-20T12:00:00.000000Z",
            "ended_at": "2026-11-20T12:00:00.000000Z",
        },
        "succeeded": 1,
        "ended": 1,
        "success_rate": 1.0,
        "looked_at": 1,
    }
    assert shown["links"]["self"] == "/snapshots/training_pipeline%3A2"
    json.dumps(shown)


def test_a_list_of_snapshots_has_no_schemas() -> None:
    """But which is the newest."""
    shown = snapshot_in_list(Found(snapshot(number=1).summary, pipeline(newest=2), NO_RUNS))
    assert "parameters_schema" not in shown
    assert shown["newest"] is False
    assert shown["runs"]["success_rate"] is None
    assert snapshot_summary(snapshot()) == snapshot_summary(snapshot().summary)


def test_a_pipeline_is_shown_with_what_its_newest_snapshot_takes() -> None:
    """All of that is null if every snapshot was deleted; the fields are the same."""
    newest = snapshot(number=1, description="d")
    whole = pipeline_details(Found(newest, pipeline(), NO_RUNS))
    empty = pipeline_details(Found(None, pipeline(newest=None), NO_RUNS))
    listed = pipeline_summary(Found(PublishedPipeline(pipeline(), newest.summary), pipeline(), NO_RUNS))

    assert whole["parameters_schema"] == TRAINING.parameters_schema
    assert (whole["name"], whole["description"], whole["snapshot"]["id"]) == (
        "training_pipeline",
        "d",
        "training_pipeline:1",
    )
    assert listed == {name: whole[name] for name in listed}
    assert set(empty) == set(whole)
    assert (empty["snapshot"], empty["parameters_schema"], empty["example"]) == (None, None, None)


def test_names_are_escaped_in_links() -> None:
    """As the path takes them."""
    odd = snapshot(content(pipeline="größe: [1]"), 3)
    assert snapshot_summary(odd)["links"]["runs"] == "/snapshots/gr%C3%B6%C3%9Fe%3A%20%5B1%5D%3A3/runs"


def test_a_publisher_is_told_what_changed_and_whom_it_breaks() -> None:
    """The same stands in the history."""
    done = Publication(
        snapshot().summary,
        newest=True,
        created=True,
        changes=(CHANGE,),
        broken_triggers=("t",),
        broken_names=("production",),
    )
    entry = HistoryEntry(
        revision=3,
        at=MOMENT,
        by="k",
        action="published",
        snapshot=2,
        newest=2,
        previous=None,
        moved=(MovedChoice(choice="production", before=None, after=2),),
        changes=done.changes,
        broken_triggers=done.broken_triggers,
        omitted_triggers=3,
        broken_names=done.broken_names,
        write="secret of the store",
    )
    told, kept = publication_view(done), history_view("p", entry)

    assert told["changes"] == [{"kind": "removed", "pointer": "/parameters/x", "breaking": True, "detail": "Gone."}]
    assert told["breaks"] == {"triggers": ["t"], "snapshots": ["production"]}
    assert (told["changes"], told["breaks"]) == (kept["changes"], kept["breaks"])
    assert (kept["snapshot"], kept["newest"], kept["previous"]) == ("p:2", "p:2", None)
    assert kept["moved"] == [{"choice": "production", "from": None, "to": "p:2"}]
    assert kept["omitted_triggers"] == 3
    assert "secret" not in json.dumps(kept)


def test_a_run_is_shown_with_what_it_ran() -> None:
    """Image, size, time limit, and the runs before and after it."""
    head = run(retry_of="a", retried_by="b", resources={"cpu": 256, "memory": 512})
    shown = run_details(
        RunRecord(run=head, input=run_input(timeout_seconds=60, image="i@sha256:0", secrets={"T": "s"}))
    )

    assert (shown["retry_of"], shown["retried_by"]) == ("a", "b")
    assert (shown["timeout_seconds"], shown["image"]) == (60, "i@sha256:0")
    assert shown["resources"] == {"cpu": 256, "memory": 512}
    assert run_summary(run())["resources"] is None


def test_a_run_is_shown_with_its_options_and_why_it_waits() -> None:
    """As they were asked for; of one that waits again, the reason and until when."""
    head = run(
        priority=5,
        concurrency={"key": "customer-7", "limit": 2},
        retry={"max_attempts": 3, "on": ["ValueError"]},
        spot=True,
        attempt=2,
        not_before=at(60),
        reason="spot_interrupted",
        message="Attempt 1 failed and is repeated.",
    )
    shown = run_summary(head)

    assert (shown["priority"], shown["spot"], shown["attempt"]) == (5, True, 2)
    assert shown["concurrency"] == {"key": "customer-7", "limit": 2, "on_conflict": "queue"}
    assert shown["retry"] == {"max_attempts": 3, "backoff_seconds": 60, "on": ["ValueError"]}
    assert (shown["status"], shown["reason"], shown["not_before"]) == ("queued", "spot_interrupted", shown_at(60))
    assert run_summary(run())["not_before"] is None


def test_a_run_is_shown_with_when_each_phase_began() -> None:
    """Those that are known; the first step is the one that began first."""
    steps = (StepProgress(name="b", status="running", started_at=at(9)), StepProgress(name="a", status="completed"))
    head = run(
        status="running",
        launched_at=at(1),
        started_at=at(5),
        timings=Timings(pull_started_at=at(2), pulled_at=at(3), container_started_at=at(4)),
    )
    running = RunRecord(run=head, input=run_input(), progress=Progress(heartbeat_at=at(10), steps=steps))

    assert run_details(running)["timings"] == {
        "recorded_at": shown_at(0),
        "launched_at": shown_at(1),
        "pulled_at": shown_at(3),
        "container_started_at": shown_at(4),
        "claimed_at": shown_at(5),
        "first_step_at": shown_at(9),
        "ended_at": None,
    }
    waiting = run_details(RunRecord(run=run(), input=run_input()))["timings"]
    assert [name for name, moment in waiting.items() if moment] == ["recorded_at"]


def test_a_run_is_shown_with_the_story_of_its_attempts() -> None:
    """Those before, and the last one when it has ended; a run that was never launched has had none."""
    before = Attempt(number=1, launches=2, spot=True, ended_at=at(1), outcome="failed", reason="spot_interrupted")
    head = run(attempt=2, status="failed", task_arn=TASK, ended_at=at(9), reason="out_of_memory", started_at=at(3))

    def attempts(of: Run) -> list[tuple[int, str, str | None]]:
        record = RunRecord(run=of, input=run_input(), earlier_attempts=(before,))
        return [(one["number"], one["outcome"], one["reason"]) for one in run_details(record)["attempts"]]

    assert attempts(head) == [(1, "failed", "spot_interrupted"), (2, "failed", "out_of_memory")]
    whole = RunRecord(run=head, input=run_input(), earlier_attempts=(before.model_copy(update={"task_arn": "first"}),))
    assert [whole.task_of(number) for number in (1, 2, 3)] == ["first", TASK, None]
    assert attempts(run(attempt=2, status="running")) == [(1, "failed", "spot_interrupted")]
    skipped = run(status="cancelled", ended_at=at(0), reason="skipped_overlap")
    assert run_details(RunRecord(run=skipped, input=run_input()))["attempts"] == []


def at(seconds: int) -> datetime:
    """Give a moment so many seconds after the run was recorded."""
    return MOMENT + timedelta(seconds=seconds)


def shown_at(seconds: int) -> str:
    """Give it as it is shown."""
    return to_text(at(seconds))


def large(name: str, size: int) -> Trigger:
    """Make a trigger of some size, all of which JSON within JSON doubles."""
    return trigger(name, parameters={"data_url": '"' * (size // 2)})


def test_changes_are_shown_with_definitions_until_they_are_made() -> None:
    """Whole ones, with their defaults; of what stays as it is, none. With the plan that may be held to."""
    one, other = trigger("t"), trigger("t", prefix="in/")
    found = (
        TriggerChange("created", "create", None, one),
        TriggerChange("deleted", "delete", one, None),
        TriggerChange("same", "unchanged", one, one),
        TriggerChange("unreadable", "update", UnreadableTrigger("unreadable", "body: missing"), other),
        TriggerChange("updated", "update", one, other),
        TriggerChange("gone", "delete", UnreadableTrigger("gone", "body: missing", type="run"), None),
    )
    done = TriggerChanges(found, "write")
    before, after = (side.definition.model_dump(mode="json") for side in (one, other))
    sides: dict[str, dict[str, Any]] = {
        "created": {"before": None, "after": before},
        "deleted": {"before": before, "after": None},
        "unreadable": {"after": after},
        "updated": {"before": before, "after": after},
        "gone": {"after": None},
    }

    for written in (False, True):
        shown = trigger_changes_view(done, written=written)
        assert (shown["written"], shown.get("plan")) == (written, None if written else done.plan)
        for change, told in zip(found, shown["changes"], strict=True):
            kind = ("run", None) if change.name == "gone" else ("s3", TRAINING.pipeline)
            expected = {"name": change.name, "change": change.change, "type": kind[0], "pipeline": kind[1]}
            assert told == expected | ({} if written else sides.get(change.name, {}))


def test_changes_are_all_told_however_large_they_are() -> None:
    """In less than the 6 MB of a Lambda's answer, in which JSON within JSON is twice as long."""
    sizes = dict.fromkeys((f"t{number}" for number in range(30)), 340_000) | {"u": 1000}
    done = TriggerChanges(
        tuple(TriggerChange(name, "delete", large(name, size), None) for name, size in sizes.items()), "write"
    )
    shown = trigger_changes_view(done, written=False)
    assert len(json.dumps(json.dumps(shown))) < 6_000_000
    # As many as there is room for, the small one after them, too.
    assert [one["name"] for one in shown["changes"] if "before" in one] == [*list(sizes)[:6], "u"]
    assert [one["name"] for one in shown["changes"]] == list(sizes)


def test_trials_are_all_told_however_large_their_requests_are() -> None:
    """Each event and what came of it; of the requests as many as there is room for; details as long as in receipts."""
    request = RunRequest(pipeline="p", parameters={"a": '"' * 250_000})
    event: dict[str, Any] = {"body": '"' * 8000}
    tried = Trial(event, matches=True, outcome="rejected", detail="x" * 3000, request=request)
    none = Trial(event, matches=False, outcome="not_matched", detail="no")
    shown = trials_view([*[tried] * 9, none])
    assert len(json.dumps(json.dumps(shown))) < 6_000_000
    assert [one.get("request", "left out") == "left out" for one in shown] == [False] * 3 + [True] * 6 + [False]
    assert [one["event"] for one in shown] == [event] * 10
    assert [len(one["detail"]) for one in shown] == [MAX_DETAIL] * 9 + [2]
    assert shown[-1]["request"] is None
