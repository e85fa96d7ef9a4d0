"""The runs table as functions write and read it, on moto and on DynamoDB Local."""

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import MOMENT, TASK, Runs, run
from tests.integration.zentrigger.bench import Clock, claimed, counts, create, head, items
from zentrigger.capacity import Capacity
from zentrigger.errors import InvalidRequestError, NotFoundError, QueueFullError
from zentrigger.items import from_item, to_cursor
from zentrigger.run_items import ENDED
from zentrigger.run_store import NoFreeSlotError
from zentrigger.runs import Attempt, Progress, Refusal, Report, Run, RunStatus, StepProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SUCCESS = Report(outcome="succeeded", steps=(StepProgress(name="load", status="completed"),))


def test_a_first_run_starts_and_a_second_waits(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Record and slot are one."""
    first, second = create(store, run()), create(store, run())

    assert (first.run.status, second.run.status) == (RunStatus.STARTING, RunStatus.QUEUED)
    assert counts(dynamodb) == (1, 1)
    assert [found.run_id for found in store.active(RunStatus.QUEUED, 5)] == [second.run.run_id]


def test_nobody_overtakes_the_waiting(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """A free slot goes to the one who waits, not to the one who comes."""
    first = create(store, run()).run
    create(store, run())
    store.end(first, RunStatus.FAILED, "why", "because")

    assert create(store, run()).run.status == RunStatus.QUEUED
    assert counts(dynamodb) == (0, 2)


@pytest.mark.parametrize("max_waiting", [0, 1])
def test_a_full_queue_refuses_and_writes_nothing(store: Runs, dynamodb: "DynamoDBClient", max_waiting: int) -> None:
    """But the replay of a recorded run is given all the same."""
    first = run()
    create(store, first, max_waiting=max_waiting)
    for _ in range(max_waiting):
        create(store, run(), max_waiting=max_waiting)
    refused = run()

    with pytest.raises(QueueFullError):
        create(store, refused, max_waiting=max_waiting)

    assert store.get(refused.run_id) is None
    assert counts(dynamodb) == (1, max_waiting)
    assert create(store, first.model_copy(update={"accepted_at": datetime.now(UTC)}), max_waiting=max_waiting).replayed


def test_a_replay_gives_the_run_as_it_stands(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """And counts nothing."""
    original = claimed(store)

    again = create(store, original.model_copy(update={"status": "queued", "accepted_at": datetime.now(UTC)}))

    assert again.replayed
    assert again.run.status == RunStatus.RUNNING
    assert counts(dynamodb) == (1, 0)


def test_an_expired_record_is_none(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """DynamoDB deletes what has expired within days; until then it does not count, and its id may be used again.

    What is left of the old record is none of the new one's, though it stands under the same id.
    """
    old = create(store, run(retention_days=1)).run
    store.claim(old.run_id, 1, TASK)
    story = Attempt(number=1, launches=1, ended_at=MOMENT, outcome="failed")
    again = head(store, old.run_id).model_copy(update={"status": RunStatus.QUEUED, "attempt": 2, "claimed_by": None})
    waiting = store.next_attempt(head(store, old.run_id), again, story)
    assert waiting is not None
    assert store.start(waiting, max_active=1)
    store.claim(old.run_id, 2, TASK)
    assert store.report(old.run_id, 2, TASK, SUCCESS)
    clock.passes(days=100)
    assert store.get(old.run_id) is not None, "what has not ended never expires"
    store.end(head(store, old.run_id), RunStatus.SUCCEEDED, None, None)
    clock.passes(days=1, seconds=1)
    assert store.get(old.run_id) is None
    assert store.page(limit=5).runs == ()

    created = create(store, run(run_id=old.run_id, accepted_at=clock()), max_active=1)

    assert (created.replayed, created.run.status) == (False, RunStatus.STARTING)
    assert counts(dynamodb) == (1, 0)
    assert items(dynamodb, old.run_id).keys() == {"attempt#001", "head", "input", "progress", "result"}
    record = store.get(old.run_id)
    assert record is not None
    assert (record.run, record.input.parameters) == (created.run, {"rate": 0.1})
    assert (record.progress, record.result, record.earlier_attempts) == (None, None, ())
    assert store.heartbeats([created.run]) == {old.run_id: None}
    store.claim(old.run_id, 1, TASK + "2")
    assert store.heartbeats([created.run]) == {old.run_id: clock()}


def test_a_run_goes_its_way(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Recorded, launched, claimed, in progress, reported, ended, announced; nothing is left but the record."""
    created = create(store, run()).run
    store.record_task(created, TASK)
    assignment = store.claim(created.run_id, 1, TASK)
    assert assignment.parameters == {"rate": 0.1}
    steps = (StepProgress(name="load", status="running", started_at=MOMENT),)
    assert store.save_progress(created.run_id, 1, Progress(heartbeat_at=MOMENT, steps=steps))
    assert store.report(created.run_id, 1, TASK, SUCCESS)

    record = store.get(created.run_id)
    assert record is not None
    assert record.progress is not None
    assert record.progress.steps == steps
    assert record.result == SUCCESS
    ended = store.end(record.run, RunStatus.SUCCEEDED, None, None)
    assert ended is not None
    assert counts(dynamodb) == (0, 0)
    assert [found.run_id for found in store.active(ENDED, 5)] == [created.run_id]
    store.mark_announced(ended)
    assert store.active(ENDED, 5) == ()
    assert store.active(RunStatus.RUNNING, 5) == ()


def test_an_end_is_never_overwritten_nor_a_slot_given_back_twice(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Whoever comes second changes nothing."""
    running = claimed(store)
    assert store.end(running, RunStatus.FAILED, "first", None)

    assert store.end(running, RunStatus.CANCELLED, "second", None) is None
    assert store.report(running.run_id, 1, TASK, SUCCESS) is False

    standing = store.head(running.run_id)
    assert standing is not None
    assert standing.reason == "first"
    assert counts(dynamodb) == (0, 0)


def test_a_stale_look_does_not_end_a_run_that_has_reported(store: Runs) -> None:
    """The index may be behind: a report that came meanwhile is a reason to look again."""
    stale = claimed(store)
    store.report(stale.run_id, 1, TASK, SUCCESS)

    assert store.end(stale, RunStatus.FAILED, "result_missing", None) is None


def test_a_cancel_that_came_meanwhile_refuses_a_success(store: Runs) -> None:
    """Success requires that nobody asked to cancel."""
    running = claimed(store)
    assert store.request_cancel(running)

    assert store.end(running, RunStatus.SUCCEEDED, None, None) is None


def test_asking_to_cancel_again_changes_nothing(store: Runs) -> None:
    """The first request counts."""
    running = claimed(store)
    first = store.request_cancel(running)
    assert first is not None

    assert store.request_cancel(running) is None

    assert store.head(running.run_id) == first


def _ended(store: Runs) -> Run:
    ended = store.end(create(store, run(), max_active=50).run, RunStatus.FAILED, "why", "because")
    assert ended is not None
    return ended


def test_a_retry_and_its_run_name_each_other(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Of the run that has ended nothing else changes: it is announced as before, stays so, and expires as before."""

    def attributes(of: Run) -> dict[str, Any]:
        key = {"run_id": {"S": of.run_id}, "part": {"S": "head"}}
        return from_item(dynamodb.get_item(TableName="RunsTable", Key=key)["Item"])

    assert store.capacity() == Capacity(0, 0)
    announced, waiting = _ended(store), _ended(store)
    store.mark_announced(announced)
    before = attributes(announced)

    first = create(store, run(retry_of=announced.run_id)).run
    assert attributes(announced) == before | {"retried_by": first.run_id}
    second = create(store, run(retry_of=announced.run_id)).run
    third = create(store, run(retry_of=waiting.run_id)).run

    assert [one.status for one in (first, second, third)] == ["starting", "queued", "queued"]
    assert attributes(announced) == before | {"retried_by": second.run_id}
    assert store.capacity() == Capacity(1, 2)
    assert [found.run_id for found in store.active(ENDED, 5)] == [waiting.run_id]
    store.mark_announced(waiting)
    assert attributes(waiting)["retried_by"] == third.run_id
    assert store.active(ENDED, 5) == ()


def test_what_has_not_ended_is_not_repeated(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Nor what is gone: neither the retry nor its slot is written, and nothing is made of the link."""
    starting, queued = create(store, run()).run, create(store, run()).run

    for of in (starting.run_id, queued.run_id, "nobody"):
        retry = run(retry_of=of)
        for max_active in (1, 5):
            with pytest.raises(NotFoundError, match=of):
                create(store, retry, max_active=max_active)
        assert store.get(retry.run_id) is None

    assert counts(dynamodb) == (1, 1)
    assert (store.head(starting.run_id), store.head(queued.run_id), store.head("nobody")) == (starting, queued, None)


def test_a_repeated_retry_is_a_replay_and_a_full_queue_writes_no_link(store: Runs) -> None:
    """What was there wins; what is refused leaves nothing."""
    ended = _ended(store)
    first = run(retry_of=ended.run_id)
    create(store, first)
    with pytest.raises(QueueFullError):
        create(store, run(retry_of=ended.run_id), max_waiting=0)

    again = create(store, first.model_copy(update={"accepted_at": datetime.now(UTC)}), max_waiting=0)

    assert again.replayed
    standing = store.head(ended.run_id)
    assert standing is not None
    assert standing.retried_by == first.run_id


def test_a_task_is_recorded_once_and_no_refusal_after_it(store: Runs) -> None:
    """What a stale reader or a second launch says does not replace the task that is known."""
    created = create(store, run()).run
    store.record_task(created, TASK)
    store.record_task(created, TASK + "0")
    store.record_refusal(created, Refusal(launch=1, transient=False, reason="r", message="m"))

    standing = store.head(created.run_id)
    assert standing is not None
    assert (standing.task_arn, standing.refusal) == (TASK, None)


def test_a_head_that_cannot_be_read_hides_no_other(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Neither from the sweep, which is told of it, nor from a list."""
    broken, sound = create(store, run(), max_active=5).run, create(store, run(), max_active=5).run
    dynamodb.update_item(
        TableName="RunsTable",
        Key={"run_id": {"S": broken.run_id}, "part": {"S": "head"}},
        UpdateExpression="SET attempt = :text",
        ExpressionAttributeValues={":text": {"S": "x"}},
    )

    unreadable: list[str] = []
    assert [found.run_id for found in store.active(RunStatus.STARTING, 5, unreadable.append)] == [sound.run_id]
    assert unreadable == [broken.run_id]
    assert [found.run_id for found in store.active(RunStatus.STARTING, 5)] == [sound.run_id]
    assert [found.run_id for found in store.page(limit=5, pipeline=sound.pipeline).runs] == [sound.run_id]


def test_many_are_all_seen(store: Runs) -> None:
    """And no more than were asked for."""
    made = {create(store, run(), max_active=50).run.run_id for _ in range(12)}
    assert {found.run_id for found in store.active(RunStatus.STARTING, 100)} == made
    assert len(store.active(RunStatus.STARTING, 5)) == 5


def test_a_task_that_claimed_before_its_launch_was_answered_keeps_the_run(store: Runs, clock: Clock) -> None:
    """The answer adds when it was launched; that of another task, which was launched beside it, changes nothing."""
    created = create(store, run()).run
    store.claim(created.run_id, 1, TASK)
    running = head(store, created.run_id)
    clock.passes(seconds=1)

    store.record_task(created, TASK + "0")
    assert head(store, created.run_id) == running
    store.record_task(created, TASK)

    standing = head(store, created.run_id)
    assert (standing.task_arn, standing.claimed_by, standing.launched_at) == (TASK, TASK, clock())


def test_a_refused_launch_waits_for_the_next(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """It gives its slot back, takes the next launch number, and says why it waits."""
    created = create(store, run()).run
    store.record_refusal(created, Refusal(launch=1, transient=True, reason="throttled", message="slow down"))
    standing = store.head(created.run_id)
    assert standing is not None

    waiting = store.requeue(standing, not_before=MOMENT)

    assert waiting is not None
    assert counts(dynamodb) == (0, 1)
    assert store.head(created.run_id) == waiting
    assert (waiting.launch, waiting.refusal, waiting.reason) == (2, standing.refusal, "throttled")
    started = store.start(waiting, max_active=1)
    assert started is not None
    assert counts(dynamodb) == (1, 0)
    assert store.head(created.run_id) == started


def test_no_slot_and_moved_on_are_told_apart(store: Runs) -> None:
    """A full stack is a reason to stop trying; a run that moved on is not."""
    first, second = create(store, run()).run, create(store, run()).run
    with pytest.raises(NoFreeSlotError):
        store.start(second, max_active=1)
    store.end(second, RunStatus.CANCELLED, None, None)
    assert store.start(second, max_active=5) is None
    assert store.head(first.run_id) == first


def test_lists_page_newest_first_over_months(store: Runs) -> None:
    """Over the border of months, by pipeline, trigger, status and tag, each run once."""
    newest = datetime.now(UTC).replace(day=2)
    moments = [newest - timedelta(days=20 * number) for number in range(7)]
    names = [
        create(
            store,
            run(
                accepted_at=moment,
                pipeline=f"p{number % 2}",
                trigger="t" if number < 3 else None,
                tags=("odd",) if number % 2 else (),
            ),
            max_active=5,
        ).run.run_id
        for number, moment in enumerate(moments)
    ]

    def everything(limit: int, **filters: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        for _ in range(20):
            page = store.page(limit=limit, cursor=cursor, **filters)
            assert len(page.runs) <= limit
            found += [listed.run_id for listed in page.runs]
            cursor = page.cursor
            if cursor is None:
                return found
        raise AssertionError("the listing never ends")

    for limit in (1, 3, 100):
        assert everything(limit) == names
        assert everything(limit, pipeline="p1") == names[1::2]
        assert everything(limit, trigger="t") == names[:3]
        assert everything(limit, tag="odd") == names[1::2]
        assert everything(limit, status=RunStatus.QUEUED) == names[5:]


def test_cursors_of_other_lists_are_refused(store: Runs) -> None:
    """With a sentence, not with DynamoDB's."""
    for _ in range(2):
        create(store, run())
    cursor = store.page(limit=1).cursor
    assert cursor is not None
    forged = [to_cursor(position) for position in ({"month": "1999-01"}, {"month": "x"}, {"month": ""})]
    nested = base64.urlsafe_b64encode(b"[" * 20_000).decode()
    others = [{"cursor": text} for text in (*forged, nested, "nonsense", "e30x")]
    for wrong in ({"cursor": cursor, "pipeline": "training_pipeline"}, *others):
        with pytest.raises(InvalidRequestError):
            store.page(limit=1, **wrong)  # type: ignore[arg-type]
