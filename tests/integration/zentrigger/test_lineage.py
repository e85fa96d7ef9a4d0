"""Runs that the ends of others start: chains, circles, and the lineage from both ends, on each DynamoDB."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests import factories
from tests.factories import snapshot
from tests.integration.zentrigger.bench import Forgetful, items
from tests.integration.zentrigger.trigger_bench import Bench, run_event, s3_event
from zentrigger import trigger_store
from zentrigger.matching import MAX_CHAIN
from zentrigger.runs import Output, Report, Run, RunRecord, RunStatus, Source

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def bench(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a stack with room for all runs."""
    made = Bench(dynamodb, max_active=100)
    monkeypatch.setattr(trigger_store, "now", lambda: made.clock.moment)
    return made


def record(bench: Bench, run_id: str | None) -> RunRecord:
    """Give the record of a run that is there."""
    found = bench.runs.get(str(run_id))
    assert found is not None
    return found


def ended(bench: Bench, of: Run | None = None) -> Run:
    """Record a run, and end it."""
    created = bench.runs.create(of or factories.run(), factories.run_input(), max_active=999, max_waiting=None).run
    return bench.end(created)


def test_a_chain_of_three_passes_artifacts_along(bench: Bench) -> None:
    """Each gets the artifact id of the one before; the lineage is readable downwards and upwards."""
    for name in ("second", "third"):
        bench.published[name] = snapshot(factories.content(pipeline=name))
    artifact = {"data_url": "{run.outputs.train.model.artifact_id}"}
    bench.put("one", pipeline="training_pipeline")
    bench.put("two", type="run", pipeline="second", of={"trigger": "one"}, parameters=artifact)
    bench.put("three", type="run", pipeline="third", of={"pipeline": "second"}, parameters=artifact)

    (told,) = bench.handle(s3_event())
    ids = [told.run_id]
    for number in (1, 2):
        output = Output(name="model", step="train", artifact_id=f"artifact-{number}")
        bench.end(record(bench, ids[-1]).run, report=Report(outcome="succeeded", outputs=(output,)))
        (told,) = bench.handle(run_event(str(ids[-1])))
        ids.append(told.run_id)

    first, second, third = (record(bench, run_id) for run_id in ids)
    assert second.input.parameters["data_url"] == "artifact-1"
    assert third.input.parameters["data_url"] == "artifact-2"
    assert [[one.run_id for one in each.downstream] for each in (first, second, third)] == [[ids[1]], [ids[2]], []]
    assert [each.run.source.run_id for each in (first, second, third)] == [None, ids[0], ids[1]]
    assert [each.run.source.chain for each in (first, second, third)] == [(), ("two",), ("two", "three")]
    (named,) = second.downstream
    assert (named.pipeline, named.trigger, named.accepted_at) == ("third", "three", third.run.accepted_at)


def test_a_circle_stops_at_its_second_turn(bench: Bench) -> None:
    """A trigger on its own pipeline starts one run for each that something else started; then a receipt says why."""
    bench.put("again", type="run", of={"pipeline": "training_pipeline"})
    first = ended(bench)

    (told,) = bench.handle(run_event(first.run_id))
    second = bench.end(record(bench, told.run_id).run)
    (stopped,) = bench.handle(run_event(second.run_id))

    assert (told.outcome, stopped.outcome) == ("started", "skipped_cycle")
    assert "again -> again" in str(stopped.detail)
    assert record(bench, second.run_id).downstream == ()
    assert bench.counts_of("again") == {"started": 1, "skipped_cycle": 1}


def test_a_circle_of_two_stops(bench: Bench) -> None:
    """Whatever lies between."""
    bench.published["other"] = snapshot(factories.content(pipeline="other"))
    bench.put("a", type="run", pipeline="other", of={"pipeline": "training_pipeline"})
    bench.put("b", type="run", of={"pipeline": "other"})
    run_id, outcomes = ended(bench).run_id, []
    while True:
        (told,) = bench.handle(run_event(run_id))
        outcomes.append((told.trigger, told.outcome))
        if told.run_id is None:
            break
        run_id = bench.end(record(bench, told.run_id).run).run_id

    assert outcomes == [("a", "started"), ("b", "started"), ("a", "skipped_cycle")]
    assert "a -> b -> a" in str(told.detail)


def test_a_chain_has_an_end(bench: Bench) -> None:
    """After ten triggers of type run no further one follows; one link less is none too many."""
    bench.put("next", type="run", of={"pipeline": "training_pipeline"})
    for length, outcome in ((MAX_CHAIN - 1, "started"), (MAX_CHAIN, "skipped_cycle")):
        chain = tuple(f"t{number}" for number in range(length))
        source = Source(type="run", trigger=chain[-1], run_id="before", chain=chain)
        upstream = ended(bench, factories.run(source=source))

        assert bench.outcomes(run_event(upstream.run_id)) == [outcome], length


def test_a_skipped_run_is_of_the_lineage(bench: Bench) -> None:
    """It was recorded, with its receipt and the link in one transaction, for want of a place."""
    bench.put("after", type="run", of={"pipeline": "training_pipeline"}, overlap="skip")
    first, second = ended(bench), ended(bench)

    assert bench.outcomes(run_event(first.run_id)) == ["started"]
    (told,) = bench.handle(run_event(second.run_id))

    assert told.outcome == "skipped_overlap"
    (named,) = record(bench, second.run_id).downstream
    assert named.run_id == told.run_id
    assert record(bench, told.run_id).run.status is RunStatus.CANCELLED


def test_what_is_not_started_leaves_no_link(bench: Bench) -> None:
    """The link is of the transaction that a limit refuses; a lost answer leaves one link."""
    bench.put("after", type="run", of={"pipeline": "training_pipeline"}, max_runs=1)
    first, second = ended(bench), ended(bench)

    (told,) = bench.handle(run_event(first.run_id), Forgetful(bench.client))  # type: ignore[arg-type]

    assert told.outcome == "started"
    assert bench.outcomes(run_event(second.run_id)) == ["skipped_max_runs"]
    assert [one.run_id for one in record(bench, first.run_id).downstream] == [told.run_id]
    assert not [part for part in items(bench.client, second.run_id) if part.startswith("downstream")]


def test_several_triggers_follow_one_run(bench: Bench) -> None:
    """All are named, in the order in which they were accepted."""
    for name in ("z", "a", "m"):
        bench.put(name, type="run", of={"pipeline": "training_pipeline"})
    upstream = ended(bench)

    told = bench.handle(run_event(upstream.run_id))

    assert [one.run_id for one in record(bench, upstream.run_id).downstream] == [one.run_id for one in told]
    assert [one.trigger for one in record(bench, upstream.run_id).downstream] == ["a", "m", "z"]


def test_an_id_that_is_used_again_does_not_show_what_followed_before(bench: Bench) -> None:
    """Its record expired, and DynamoDB has not deleted the links yet: they are those of another run."""
    bench.put("after", type="run", of={"pipeline": "training_pipeline"})
    first = ended(bench, factories.run(run_id="again", retention_days=1, accepted_at=bench.clock()))
    (told,) = bench.handle(run_event("again"))
    assert [one.run_id for one in record(bench, "again").downstream] == [told.run_id]

    bench.clock.passes(days=2)
    assert bench.runs.get("again") is None
    second = ended(bench, factories.run(run_id="again", retention_days=1, accepted_at=bench.clock()))

    assert second.accepted_at > first.accepted_at + timedelta(days=1)
    assert [part for part in items(bench.client, "again") if part.startswith("downstream")]
    assert record(bench, "again").downstream == ()


def test_a_link_lasts_as_long_as_what_it_names(bench: Bench) -> None:
    """It expires with the parts of that run's record, never with the other's head."""
    bench.put("after", type="run", of={"pipeline": "training_pipeline"})
    upstream = ended(bench)
    (told,) = bench.handle(run_event(upstream.run_id))

    link = items(bench.client, upstream.run_id)[f"downstream#{told.run_id}"]

    assert link["expires_at"] == items(bench.client, str(told.run_id))["input"]["expires_at"]
