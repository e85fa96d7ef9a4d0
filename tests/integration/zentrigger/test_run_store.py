"""The runs table, on moto and on DynamoDB Local; what claims atomicity, under threads on DynamoDB Local."""

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import MOMENT, TASK, Runs, run, run_input
from zentrigger.attempt_store import NotClaimableError
from zentrigger.capacity import Capacity
from zentrigger.errors import InvalidRequestError, NotFoundError, QueueFullError
from zentrigger.items import from_item, to_cursor
from zentrigger.run_items import ENDED
from zentrigger.run_store import Creation, NoFreeSlotError
from zentrigger.runs import CONTRACT_VERSION, Progress, Refusal, Report, Run, RunInput, RunStatus, StepProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SUCCESS = Report(outcome="succeeded", steps=(StepProgress(name="load", status="completed"),))


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> Runs:
    """Give the store on each DynamoDB in turn."""
    return Runs("RunsTable", dynamodb)


def counts(client: "DynamoDBClient") -> tuple[int, int]:
    """Give how many runs are counted active and waiting."""
    key = {"run_id": {"S": "capacity#all"}, "part": {"S": "capacity"}}
    item = from_item(client.get_item(TableName="RunsTable", Key=key).get("Item", {}))
    return item.get("active_runs", 0), item.get("waiting_runs", 0)


def create(store: Runs, of: Run, *, max_active: int = 1, max_waiting: int | None = None) -> Creation:
    """Record a run."""
    return store.create(of, run_input(parameters={"rate": 0.1}), max_active=max_active, max_waiting=max_waiting)


def claimed(store: Runs) -> Run:
    """Record a run and claim it."""
    created = create(store, run(), max_active=100).run
    store.claim(created.run_id, 1, TASK)
    standing = store.head(created.run_id)
    assert standing is not None
    return standing


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


def test_an_expired_record_is_none(store: Runs) -> None:
    """DynamoDB deletes what has expired within days; until then it does not count."""
    old = run(retention_days=0)
    create(store, old)
    assert store.get(old.run_id) is not None, "what has not ended never expires"
    store.end(create(store, old).run, RunStatus.FAILED, None, None)
    time.sleep(2.1)
    assert store.get(old.run_id) is None
    assert store.page(limit=5).runs == ()

    again = create(store, old.model_copy(update={"accepted_at": datetime.now(UTC)}), max_active=5)

    assert not again.replayed
    assert store.get(old.run_id) is not None


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


def test_a_claim_proves_a_refusal_wrong(store: Runs) -> None:
    """The task that claims was started, whatever a repetition of its launch was told."""
    created = create(store, run()).run
    store.record_refusal(created, Refusal(launch=1, transient=False, reason="r", message="m"))

    store.claim(created.run_id, 1, TASK)

    standing = store.head(created.run_id)
    assert standing is not None
    assert standing.refusal is None


def test_a_record_of_a_later_contract_is_not_claimed(store: Runs) -> None:
    """An old image does not guess what a newer record means, and says what to do. One of its own time is claimed."""
    later, own = (create(store, run(contract=CONTRACT_VERSION + more), max_active=2).run for more in (1, 0))
    with pytest.raises(NotClaimableError, match=f"contract .* publish {later.pipeline} again with an image of now"):
        store.claim(later.run_id, 1, TASK)
    assert store.claim(own.run_id, 1, TASK).run_id == own.run_id


def test_what_an_assignment_holds_is_of_this_contract() -> None:
    """A field that comes or goes raises the version: a runner of the one before would silently drop what it carries."""
    assert (CONTRACT_VERSION, sorted(set(RunInput.model_fields))) == (
        2,
        [
            "architecture", "configured_steps", "enable_cache", "image", "options", "parameters", "secrets", "source",
            "stack", "steps", "tags", "timeout_seconds", "zenml_snapshot",
        ],
    )  # fmt: skip


def test_a_head_that_cannot_be_read_hides_no_other(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Neither from the sweep nor from a list."""
    broken, sound = create(store, run(), max_active=5).run, create(store, run(), max_active=5).run
    dynamodb.update_item(
        TableName="RunsTable",
        Key={"run_id": {"S": broken.run_id}, "part": {"S": "head"}},
        UpdateExpression="SET attempt = :text",
        ExpressionAttributeValues={":text": {"S": "x"}},
    )

    assert [found.run_id for found in store.active(RunStatus.STARTING, 5)] == [sound.run_id]
    assert [found.run_id for found in store.page(limit=5, pipeline=sound.pipeline).runs] == [sound.run_id]


def test_many_are_all_seen(store: Runs) -> None:
    """And no more than were asked for."""
    made = {create(store, run(), max_active=50).run.run_id for _ in range(12)}
    assert {found.run_id for found in store.active(RunStatus.STARTING, 100)} == made
    assert len(store.active(RunStatus.STARTING, 5)) == 5


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda store, of: store.end(of, RunStatus.FAILED, None, None), "failed"),
        (lambda store, of: store.request_cancel(of), "cancellation"),
        (lambda store, of: store.claim(of.run_id, 1, TASK + "0"), "running"),
    ],
)
def test_what_is_not_to_be_claimed(store: Runs, prepare: Callable[[Runs, Run], Any], said: str) -> None:
    """An ended, a cancelled and somebody else's run are not claimed."""
    created = create(store, run()).run
    prepare(store, created)

    with pytest.raises(NotClaimableError, match=said):
        store.claim(created.run_id, 1, TASK)


def test_claims_of_unknown_runs_and_other_attempts(store: Runs) -> None:
    """Are refused with their reason."""
    created = create(store, run()).run
    with pytest.raises(NotClaimableError, match="no run"):
        store.claim("nobody", 1, TASK)
    with pytest.raises(NotClaimableError, match="attempt 2"):
        store.claim(created.run_id, 2, TASK)


def test_what_was_done_can_be_done_again(store: Runs) -> None:
    """A claim and a report whose answers were lost succeed when repeated."""
    running = claimed(store)

    assert store.claim(running.run_id, 1, TASK).attempt == 1
    assert store.report(running.run_id, 1, TASK, SUCCESS)
    assert store.report(running.run_id, 1, TASK, SUCCESS)


def test_older_attempts_change_nothing(store: Runs) -> None:
    """A writer of another attempt or task is fenced off."""
    running = claimed(store)

    assert store.save_progress(running.run_id, 2, Progress(heartbeat_at=MOMENT)) is False
    assert store.report(running.run_id, 2, TASK, SUCCESS) is False
    assert store.report(running.run_id, 1, TASK + "0", SUCCESS) is False
    store.record_task(running.model_copy(update={"attempt": 2}), "another")
    store.record_refusal(
        running.model_copy(update={"launch": 2}), Refusal(launch=2, transient=True, reason="r", message="m")
    )

    standing = store.head(running.run_id)
    assert standing == running


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

    for limit in (1, 2, 3, 100):
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


@pytest.mark.dynamodb_local
class TestAtOnce:
    """What many do at once, on DynamoDB Local."""

    @pytest.fixture
    def store(self, dynamodb_local: "DynamoDBClient") -> Runs:
        """Give the store on DynamoDB Local."""
        return Runs("RunsTable", dynamodb_local)

    def test_one_key_makes_one_run(self, store: Runs, dynamodb_local: "DynamoDBClient") -> None:
        """64 callers with the same run id: one creates, all get the same run."""
        wanted = run()
        with ThreadPoolExecutor(32) as pool:
            answers = list(
                pool.map(
                    lambda number: create(
                        store,
                        wanted.model_copy(update={"accepted_at": MOMENT + timedelta(seconds=number)}),
                        max_active=9,
                    ),
                    range(64),
                )
            )

        assert sum(not answer.replayed for answer in answers) == 1
        assert {answer.run.accepted_at for answer in answers} == {
            next(answer.run.accepted_at for answer in answers if not answer.replayed)
        }
        assert counts(dynamodb_local) == (1, 0)

    def test_slots_are_never_oversold(self, store: Runs, dynamodb_local: "DynamoDBClient") -> None:
        """60 runs against 5 slots: 5 start, the rest wait; then everybody ends and everybody starts, 5 at a time."""
        with ThreadPoolExecutor(20) as pool:
            created = list(pool.map(lambda _: create(store, run(), max_active=5).run, range(60)))
            assert sum(one.status == RunStatus.STARTING for one in created) == 5
            assert counts(dynamodb_local) == (5, 55)

            def start(waiting: Run) -> Run | None:
                try:
                    return store.start(waiting, max_active=5)
                except NoFreeSlotError:
                    return None

            while active := [*store.active(RunStatus.STARTING, 100)]:
                assert len(active) == 5
                # Twice each: whoever comes second gives no slot back.
                list(pool.map(lambda one: store.end(one, RunStatus.FAILED, None, None), active * 2))
                list(pool.map(start, store.active(RunStatus.QUEUED, 100)))

        assert counts(dynamodb_local) == (0, 0)
        assert len(store.active(ENDED, 100)) == 60

    def test_one_of_many_claims_wins(self, store: Runs) -> None:
        """32 tasks want one attempt."""
        created = create(store, run()).run

        def claim(number: int) -> bool:
            try:
                store.claim(created.run_id, 1, f"task-{number}")
            except NotClaimableError:
                return False
            return True

        with ThreadPoolExecutor(32) as pool:
            assert sum(pool.map(claim, range(32))) == 1

    def test_cancel_against_end(self, store: Runs, dynamodb_local: "DynamoDBClient") -> None:
        """Whichever comes first, the other is told; a success and a request to cancel never stand together."""
        for _ in range(10):
            running = claimed(store)
            with ThreadPoolExecutor(2) as pool:
                ended = pool.submit(store.end, running, RunStatus.SUCCEEDED, None, None)
                asked = pool.submit(store.request_cancel, running)
            assert (ended.result() is None) != (asked.result() is None)
            standing = store.head(running.run_id)
            assert standing is not None
            if standing.status == RunStatus.RUNNING:
                store.end(standing, RunStatus.CANCELLED, None, None)
        assert counts(dynamodb_local) == (0, 0)
