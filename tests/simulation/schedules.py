"""Schedules that show what a guard of the product is for: with it they come to a good end, and without it they do not.

Each is a script for a world; some look at the outcome themselves, with AssertionError, where the watch cannot know what
should have been.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from local.faults import Faults
from tests.simulation.calls import Killed
from tests.simulation.tasks import FAILS, FREEZES, RUNS_ON, SUCCEEDS, SimulatedTask, Work
from tests.simulation.world import CALLER, World
from zentrigger.capacity_store import REPAIRED_AFTER
from zentrigger.errors import BusyError, IdempotencyClashError, NotFoundError, QueueFullError
from zentrigger.launches import Network
from zentrigger.run_requests import RunRequest
from zentrigger.runs import Run, Source

HANGS = Work("hangs_before_claim")
FAILS_BEFORE_CLAIM = Work("exits_before_claim", exit_code=75)
TRANSACTION = "dynamodb.TransactWriteItems"
LOST_ANSWER = "dynamodb.TransactWriteItems.lost_answer"

Schedule = Callable[[World], None]
SCHEDULES: dict[str, tuple[Schedule, int]] = {}
"""Name -> what happens, and how many runs may be active."""


def schedule(*, max_active: int = 1) -> Callable[[Schedule], Schedule]:
    """Keep a script as one of `SCHEDULES`."""

    def keep(script: Schedule) -> Schedule:
        SCHEDULES[script.__name__] = script, max_active
        return script

    return keep


def play(name: str) -> None:
    """Play a schedule to its end; raises AssertionError if something is not as it must be."""
    script, max_active = SCHEDULES[name]
    world = World(max_active=max_active, max_waiting=2, faults=Faults())
    script(world)
    world.settle()
    world.check()


# ------------------------------------------------------------ what schedules consist of


def at(world: World, action: str, then: Callable[[], object], *, process: str = "", skip: int = 0) -> None:
    """Have something happen before the next call of an action, or the one after `skip` of them."""
    _intercept(world, action, process, skip, lambda _: then())


def under_way(
    world: World, action: str, process: str, befall: Callable[[], object] = lambda: None
) -> list[Callable[[], object]]:
    """Have a process die with its next call of an action under way; it is done when it `arrives`."""
    late: list[Callable[[], object]] = []

    def keep(send: Callable[[], object]) -> None:
        late.append(send)
        befall()
        raise Killed

    _intercept(world, action, process, 0, keep)
    return late


def arrives(world: World, late: list[Callable[[], object]]) -> None:
    """Let what was under way be done; nobody hears the answer."""
    (send,) = late
    world.calls.landing = world.calls.made[-1]
    with suppress(ClientError):
        send()
    world.calls.landing = None


def _intercept(
    world: World, action: str, process: str, skip: int, then: Callable[[Callable[[], object]], object]
) -> None:
    through, left = world.calls.call, skip

    def call(name: str, send: Callable[[], object]) -> object:
        nonlocal left
        if name == action and process in ("", world.calls.process):
            left -= 1
            if left < 0:
                vars(world.calls)["call"] = through
                then(send)
        return through(name, send)

    vars(world.calls)["call"] = call


def minutes(world: World, count: int, *, sweeps: bool = True) -> None:
    """Let minutes pass, with or without the sweep that belongs to each."""
    for _ in range(count):
        world.advance(60)
        if sweeps:
            world.sweep()


def others_work(world: World) -> None:
    """Let all others do all that they have to do, and a sweep."""
    world.work()
    world.sweep()
    world.work()


def others_start_anew(world: World) -> None:
    """Let all others take a run back to waiting, and start it again."""
    others_work(world)
    world.advance(15)
    others_work(world)


def until_overdue(world: World, name: str) -> None:
    """Let minutes pass until a run has missed its deadline and ECS has failed to stop its task."""
    while (run := world.run(name)) is not None and run.overdue is None:
        world.faults.never("ecs.StopTask.server_error")
        world.faults.next("ecs.StopTask.server_error", times=3)
        minutes(world, 1)


def steps(world: World, name: str) -> None:
    """Let a run's task do all that it has to do, before anybody hears of it."""
    while (task := world.task_of(name)) is not None and task.can_step:
        world.step_task(task)


def only_task(world: World, name: str) -> SimulatedTask:
    """Give the one task that a run has had."""
    (task,) = world.tasks_of(name)
    return task


def ends(world: World, name: str, status: str, reason: str | None = None) -> None:
    """Let all catch up, and check how a run has ended."""
    world.settle()
    run = world.run(name)
    told = (run.status.value, run.reason) if run else None
    assert told == (status, reason), f"{name} came to {told}"


# ------------------------------------------------------------ launching


@schedule()
def an_answer_is_lost_and_the_task_not_listed(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[HANGS, SUCCEEDS])
    world.faults.next("ecs.unlisted")
    minutes(world, 3)


@schedule()
def a_request_is_lost(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_request")
    world.submit("a")
    ends(world, "a", "succeeded")


@schedule()
def an_error_is_answered_and_a_task_was_started(world: World) -> None:
    world.faults.next("ecs.RunTask.false_error")
    world.submit("a", works=[HANGS, SUCCEEDS])
    minutes(world, 3)


@schedule()
def an_answer_is_lost_and_the_next_send_refused(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[HANGS, SUCCEEDS])
    world.faults.next("ecs.unlisted", times=2)
    world.faults.next("ecs.RunTask.throttle")
    minutes(world, 4)


@schedule()
def there_is_no_capacity_for_a_while(world: World) -> None:
    world.faults.next("ecs.capacity", times=2)
    world.submit("a")
    ends(world, "a", "succeeded")


@schedule()
def a_launch_is_refused_and_the_next_one_not_answered(world: World) -> None:
    world.faults.next("ecs.capacity")
    world.submit("a", works=[HANGS, SUCCEEDS])
    world.faults.next("ecs.RunTask.lost_answer")
    minutes(world, 4)


@schedule()
def a_deployment_changes_what_a_token_asks_for(world: World) -> None:
    _started_and_died_unseen(world)
    world.reconciler._network = Network(("subnet-9",), ("sg-9",), "ENABLED")  # noqa: SLF001 - as another wiring would
    ends(world, "a", "succeeded")


@schedule()
def a_token_is_forgotten(world: World) -> None:
    _started_and_died_unseen(world)
    minutes(world, 62, sweeps=False)


def _started_and_died_unseen(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[FAILS_BEFORE_CLAIM, SUCCEEDS])
    world.deaf = True
    world.work()
    world.deaf = False


@schedule()
def an_older_launch_is_still_acted_on(world: World) -> None:
    world.faults.next("ecs.capacity")
    world.submit("a", works=[HANGS, SUCCEEDS])

    def launched_again() -> None:
        # Its task is not kept: that alone would tell that this launch was not refused.
        world.faults.next("ecs.RunTask.lost_answer")
        others_start_anew(world)

    at(world, TRANSACTION, launched_again, process="lifecycle")
    world.work()


@schedule()
def a_launch_is_refused_for_good_and_then_cancelled(world: World) -> None:
    world.refusals.append("AGENT")
    world.submit("a")
    world.cancel("a")
    world.work()


# ------------------------------------------------------------ who may change a record


@schedule()
def two_see_the_same_end(world: World) -> None:
    world.submit("a")
    at(world, TRANSACTION, lambda: others_work(world), process="lifecycle")
    world.work()


@schedule()
def an_older_attempt_is_still_acted_on(world: World) -> None:
    world.submit("a", works=[FAILS_BEFORE_CLAIM, HANGS, SUCCEEDS])
    at(world, TRANSACTION, lambda: others_start_anew(world), process="lifecycle")
    world.work()


@schedule()
def a_cancellation_comes_just_before_the_end(world: World) -> None:
    world.submit("a")
    at(world, TRANSACTION, lambda: world.cancel("a"), process="lifecycle")
    world.work()


@schedule()
def a_cancellation_comes_before_the_report(world: World) -> None:
    world.submit("a")
    world.work(lambda: only_task(world, "a").finished is not None)
    world.cancel("a")
    world.work()


@schedule()
def a_report_arrives_just_before_the_end(world: World) -> None:
    world.submit("a")
    world.work(lambda: only_task(world, "a").finished is not None)
    late = under_way(world, TRANSACTION, "runner")
    world.step_task(only_task(world, "a"))
    at(world, TRANSACTION, lambda: arrives(world, late), process="lifecycle")
    ends(world, "a", "succeeded")


@schedule()
def a_report_arrives_after_the_end(world: World) -> None:
    world.submit("a")
    world.work(lambda: only_task(world, "a").finished is not None)
    late = under_way(world, TRANSACTION, "runner")
    world.step_task(only_task(world, "a"))
    world.work()
    arrives(world, late)


@schedule()
def a_claim_arrives_after_the_end(world: World) -> None:
    world.submit("a")
    late = under_way(world, TRANSACTION, "runner", lambda: world.exhaust_memory(only_task(world, "a")))
    world.work()
    arrives(world, late)


@schedule()
def a_claim_arrives_in_the_next_attempt(world: World) -> None:
    world.submit("a", works=[SUCCEEDS, HANGS, SUCCEEDS])
    late = under_way(world, TRANSACTION, "runner")
    world.work(lambda: bool(late))
    others_start_anew(world)
    arrives(world, late)
    world.work()


@schedule()
def a_heartbeat_arrives_in_the_next_attempt(world: World) -> None:
    world.submit("a", works=[RUNS_ON], retry={"max_attempts": 2, "backoff_seconds": 1})
    late = under_way(world, "dynamodb.UpdateItem", "runner")
    world.work(lambda: bool(late))
    others_start_anew(world)
    beat = world.table.items[world.run_id("a"), "progress"]["body"]
    arrives(world, late)
    now = world.table.items[world.run_id("a"), "progress"]["body"]
    assert now == beat, f"the progress of the second attempt became {now}"
    world.cancel("a")


@schedule()
def a_deadline_passes_just_before_the_next_attempt(world: World) -> None:
    world.submit("a", works=[FAILS_BEFORE_CLAIM, SUCCEEDS])
    minutes(world, 19)
    world.pass_time(55)

    def minute() -> None:
        world.pass_time(10)
        world.faults.next("ecs.DescribeTasks.server_error", times=3)
        world.sweep()

    at(world, TRANSACTION, minute, process="lifecycle")
    ends(world, "a", "succeeded")
    attempts = len(world.tasks_of("a"))
    assert attempts == 2, f"it took {attempts} attempts"


def _kept_late(world: World, *works: Work, **options: Any) -> None:
    """Submit a run whose task's ARN is kept only when its end is about to be."""
    late = under_way(world, "dynamodb.UpdateItem", "trigger")
    world.submit("a", works=works, tries=1, **options)
    at(world, TRANSACTION, lambda: arrives(world, late), process="lifecycle")
    world.work()
    if world.status("a") == "starting":
        world.advance(15)
        world.sweep()
        world.work()


@schedule()
def a_task_is_kept_late_and_the_next_one_hangs(world: World) -> None:
    _kept_late(world, FAILS_BEFORE_CLAIM, HANGS, SUCCEEDS)
    ends(world, "a", "succeeded")


@schedule()
def a_task_is_kept_late_and_the_next_one_dies(world: World) -> None:
    _kept_late(world, FAILS_BEFORE_CLAIM, FAILS_BEFORE_CLAIM, SUCCEEDS)
    for _ in range(3):
        minutes(world, 1)
        world.work()
    assert world.status("a") == "succeeded", f"after minutes it is {world.status('a')}"


@schedule()
def a_task_is_kept_late_and_the_next_one_waits_for_a_slot(world: World) -> None:
    _kept_late(world, FAILS_BEFORE_CLAIM, SUCCEEDS)
    world.submit("b", works=[RUNS_ON], priority=10)
    world.sweep()
    world.work()
    minutes(world, 25)
    world.cancel("b")
    world.work(lambda: world.status("a") == "starting")
    # The minute's sweep comes before the task's claim.
    world.sweep()
    ends(world, "a", "succeeded")
    attempts = len(world.tasks_of("a"))
    assert attempts == 2, f"it took {attempts} attempts"


@schedule()
def a_task_is_kept_late_and_the_next_attempt_is_cancelled(world: World) -> None:
    _kept_late(world, FAILS, HANGS, retry={"max_attempts": 2, "backoff_seconds": 0})
    minutes(world, 25)
    assert world.tasks_of("a")[1].dead, "no deadline counts for the second task"
    world.cancel("a")
    minutes(world, 10)
    ends(world, "a", "cancelled", "cancelled")


@schedule()
def a_run_is_cancelled_before_its_claim(world: World) -> None:
    world.submit("a")
    world.faults.next("ecs.StopTask.server_error", times=3)
    world.cancel("a")
    steps(world, "a")


@schedule()
def a_task_claims_after_its_deadline(world: World) -> None:
    world.submit("a")
    until_overdue(world, "a")
    steps(world, "a")


@schedule()
def a_run_succeeds_after_its_deadline(world: World) -> None:
    world.submit("a", timeout_seconds=60)
    world.work_until("a", "running")
    until_overdue(world, "a")
    steps(world, "a")


@schedule()
def a_run_ends_just_before_it_is_cancelled(world: World) -> None:
    world.submit("a")
    at(world, "dynamodb.UpdateItem", world.work, process="trigger")
    world.cancel("a")


@schedule()
def a_report_comes_just_before_the_deadline_counts(world: World) -> None:
    world.submit("a", timeout_seconds=60)
    world.work(lambda: only_task(world, "a").finished is not None)
    minutes(world, 5)
    at(world, "dynamodb.UpdateItem", lambda: steps(world, "a"), process="sweep")
    minutes(world, 2)
    ends(world, "a", "succeeded")


@schedule()
def an_event_of_an_older_attempt_comes_again(world: World) -> None:
    world.submit("a", works=[FAILS_BEFORE_CLAIM, HANGS, SUCCEEDS])
    world.faults.next("events.repeat")
    world.faults.next("events.delay")
    world.work(lambda: world.status("a") == "queued")
    again = [delivery for delivery in world.deliveries if delivery.kind == "task"]
    world.advance(15)
    world.sweep()
    world.work()
    for delivery in again:
        delivery.action()


# ------------------------------------------------------------ slots


@schedule()
def one_after_the_other(world: World) -> None:
    world.submit("a")
    world.submit("b")
    world.work()
    assert world.status("b") == "succeeded", f"without a sweep it is {world.status('b')}"


@schedule()
def one_is_preferred(world: World) -> None:
    world.submit("a")
    world.submit("b")
    world.submit("c", priority=1)
    world.work(lambda: world.task_of("b") is not None)
    assert world.tasks_of("c"), "the preferred one is not the first"


@schedule(max_active=3)
def the_first_in_line_waits_for_its_pipeline(world: World) -> None:
    world.set_limit("training", 1)
    world.submit("a", works=[RUNS_ON])
    world.submit("b")
    world.submit("c", pipeline="scoring")
    world.work()
    world.settle()
    assert world.status("c") == "succeeded", f"it is {world.status('c')}"


@schedule()
def many_wait_for_a_slot(world: World) -> None:
    for name in "abc":
        world.submit(name)
    world.work()


@schedule(max_active=3)
def a_pipeline_has_a_limit(world: World) -> None:
    world.set_limit("training", 1)
    world.submit("a")
    world.submit("b")
    world.work()


@schedule(max_active=3)
def a_key_has_a_limit(world: World) -> None:
    for name in "abc":
        world.submit(name, concurrency={"key": "customer", "limit": 1})
    world.work()


@schedule(max_active=3)
def a_key_is_skipped(world: World) -> None:
    key = {"key": "customer", "limit": 1}
    world.submit("a", concurrency=key, works=[RUNS_ON])
    world.submit("b", concurrency=key)
    world.submit("c", concurrency=key | {"limit": 2, "on_conflict": "skip"})
    assert world.status("c") == "cancelled", f"it is {world.status('c')}"
    world.cancel("a")


@schedule()
def a_newcomer_finds_a_free_slot_and_others_waiting(world: World) -> None:
    world.submit("a")
    world.submit("b")
    world.work(lambda: world.status("a") == "succeeded")
    world.submit("c")
    assert world.status("c") == "queued", f"it is {world.status('c')}"


@schedule()
def the_queue_is_full(world: World) -> None:
    for name in "abc":
        world.submit(name)
    refused = world.submit("d")
    assert isinstance(refused, QueueFullError), f"the answer is {refused}"
    again = world.submit("b")
    assert isinstance(again, Run), f"the answer is {again}"


# ------------------------------------------------------------ the sweep


@schedule()
def nobody_hears_of_an_end(world: World) -> None:
    world.submit("a")
    world.work(lambda: world.status("a") == "succeeded")
    world.deliveries.clear()


@schedule()
def nobody_hears_of_a_death(world: World) -> None:
    world.submit("a", works=[RUNS_ON])
    world.work()
    world.kill_task(only_task(world, "a"))
    world.deliveries.clear()
    ends(world, "a", "failed", "task_killed")


@schedule()
def an_announcement_fails(world: World) -> None:
    world.submit("a")
    world.work(lambda: world.status("a") == "succeeded")
    world.faults.next("events.PutEvents.server_error", times=3)
    world.deliver()


@schedule()
def a_part_of_the_sweep_fails(world: World) -> None:
    world.submit("a")
    world.work(lambda: world.status("a") == "succeeded")
    world.submit("b")
    world.deliveries.clear()
    world.faults.next("ecs.DescribeTasks.server_error", times=3)
    world.sweep()
    assert world.watch.published_ends[world.run_id("a")], "the rest was left undone"


@schedule()
def a_task_is_not_stopped_at_once(world: World) -> None:
    world.submit("a", works=[RUNS_ON])
    world.work()
    world.faults.next("ecs.StopTask.server_error", times=3)
    world.cancel("a")


@schedule()
def a_task_hangs_before_its_claim(world: World) -> None:
    world.submit("a", works=[HANGS, SUCCEEDS])


@schedule()
def a_task_does_not_mind_its_deadline(world: World) -> None:
    world.submit("a", works=[RUNS_ON], timeout_seconds=60)


@schedule()
def a_task_freezes(world: World) -> None:
    world.submit("a", works=[FREEZES, SUCCEEDS], retry={"max_attempts": 2})
    world.work()
    minutes(world, 12)


@schedule()
def a_new_task_is_not_yet_known(world: World) -> None:
    world.submit("a", works=[RUNS_ON, SUCCEEDS])
    world.faults.next("ecs.missing", times=2)
    minutes(world, 2)
    world.cancel("a")


@schedule()
def a_waiting_run_is_cancelled(world: World) -> None:
    world.submit("a")
    world.submit("b")
    world.cancel("b")
    world.work()
    tasks = len(world.tasks_of("b"))
    assert not tasks, f"it got {tasks} tasks"


@schedule()
def a_run_is_cancelled_whose_task_nobody_knows(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[HANGS])
    world.faults.next("ecs.unlisted")
    world.cancel("a")
    minutes(world, 2)


@schedule()
def a_run_is_cancelled_whose_task_is_found(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[HANGS])
    world.cancel("a")
    minutes(world, 2)
    assert only_task(world, "a").dead, "the sweep that found the task has not stopped it"
    ends(world, "a", "cancelled", "cancelled")


@schedule()
def spot_capacity_is_taken_back(world: World) -> None:
    world.submit("a", works=[RUNS_ON, SUCCEEDS], spot=True)
    world.work()
    world.interrupt_task(only_task(world, "a"))
    world.work()


# ------------------------------------------------------------ budgets


@schedule()
def the_platform_fails_each_time(world: World) -> None:
    world.submit("a", works=[FAILS_BEFORE_CLAIM])
    world.work()


@schedule()
def the_pipeline_fails_each_time(world: World) -> None:
    world.submit("a", works=[FAILS], retry={"max_attempts": 2, "backoff_seconds": 1})
    world.work()


@schedule()
def a_host_dies_and_the_pipeline_may_not_be_repeated(world: World) -> None:
    world.submit("a", works=[RUNS_ON])
    world.work()
    world.lose_host(only_task(world, "a"))
    world.work()


# ------------------------------------------------------------ the same request, and answers that are lost


@schedule(max_active=2)
def a_request_comes_twice(world: World) -> None:
    world.submit("a")
    world.submit("a")
    world.work()


@schedule()
def a_request_comes_again_after_the_end(world: World) -> None:
    world.submit("a")
    world.work()
    world.submit("a")


@schedule()
def a_request_comes_again_after_the_record_has_expired(world: World) -> None:
    world.submit("a")
    world.settle()
    world.pass_time(timedelta(days=31).total_seconds())
    world.submit("a")
    assert world.status("a") == "starting", f"it is {world.status('a')}"


@schedule()
def a_request_comes_again_when_its_pipeline_is_gone(world: World) -> None:
    world.submit("a")
    with patch.object(world.submitter, "_plan", side_effect=NotFoundError("gone")):
        answer = world.submit("a")
    assert isinstance(answer, Run), f"the answer is {answer}"


@schedule()
def a_key_is_used_for_something_else(world: World) -> None:
    world.submit("a")
    answer = world.submit("a", priority=3)
    assert isinstance(answer, IdempotencyClashError), f"the answer is {answer}"


@schedule()
def others_write_at_the_same_time(world: World) -> None:
    world.faults.next("dynamodb.TransactWriteItems.conflict", times=3)
    answer = world.submit("a", tries=1)
    assert isinstance(answer, Run), f"the answer is {answer!r}"


@schedule()
def what_became_of_a_launch_cannot_be_kept(world: World) -> None:
    world.faults.next("dynamodb.UpdateItem.server_error", times=3)
    answer = world.submit("a", tries=1)
    assert isinstance(answer, Run), f"the answer is {answer!r}"


@schedule(max_active=2)
def the_answer_to_recording_is_lost(world: World) -> None:
    world.faults.next(LOST_ANSWER)
    world.submit("a")
    assert world.tasks_of("a"), "it was recorded and not launched"


@schedule()
def the_answer_to_recording_is_lost_and_then_the_store_is_busy(world: World) -> None:
    world.faults.next(LOST_ANSWER)
    world.faults.next("dynamodb.TransactWriteItems.throttle", after=1, times=2)
    # Without an idempotency key: nobody can ask for this run again.
    request, source = RunRequest(pipeline="training"), Source(type="http", key_id=CALLER)
    try:
        created = world.calls.run("trigger", lambda: world.submitter.submit(request, source))
    except BusyError as error:
        raise AssertionError(f"it was recorded, and its caller told: {error}") from error
    world.names[created.run.run_id] = "a"
    world.watch.accepted(created.run.run_id)
    assert not created.replayed
    assert only_task(world, "a"), "it was not launched"


@schedule()
def the_answer_to_starting_is_lost(world: World) -> None:
    world.submit("a")
    world.submit("b")
    at(world, TRANSACTION, lambda: world.faults.next(LOST_ANSWER), process="lifecycle", skip=1)
    world.work()
    assert world.tasks_of("b"), "it got a slot and was not launched"


@schedule()
def the_answer_to_a_claim_is_lost(world: World) -> None:
    world.submit("a")
    at(world, TRANSACTION, lambda: world.faults.next(LOST_ANSWER), process="runner")
    world.work()


# ------------------------------------------------------------ counts


@schedule()
def the_index_is_a_little_behind(world: World) -> None:
    world.table.index_lag = timedelta(seconds=8)
    world.submit("a", works=[RUNS_ON])
    world.sweep()
    world.cancel("a")


@schedule()
def the_index_is_minutes_behind(world: World) -> None:
    world.table.index_lag = timedelta(minutes=10)
    world.submit("a", works=[RUNS_ON])
    world.work()
    # The watch would be told of differences, which there are; it is the repair that must not be.
    _repairs_nothing(world, 13)
    world.cancel("a")


@schedule()
def the_index_shows_nothing_while_runs_come_and_go(world: World) -> None:
    world.table.index_lag = timedelta(hours=1)
    for name in "abcd":
        world.submit(name, works=[RUNS_ON])
        world.work()
        _repairs_nothing(world, 6)
        world.cancel(name)
        world.work()


def _repairs_nothing(world: World, count: int) -> None:
    for _ in range(count):
        world.advance(60)
        repaired = world.sweeper.sweep().drifts_repaired
        assert not repaired, f"{repaired} counts were repaired that were right"


@schedule()
def a_count_is_wrong(world: World) -> None:
    world.submit("a")
    world.work()
    world.advance(60)
    counts = world.table.items["capacity#all", "capacity"]
    world.table.items["capacity#all", "capacity"] = counts | {"active_runs": {"N": "1"}, "live_runs": {"N": "1"}}
    world.sweeper.sweep()
    world.advance(REPAIRED_AFTER.total_seconds())
    at(world, "dynamodb.UpdateItem", world.sweeper.sweep)
    world.sweeper.sweep()
    active = int(world.table.items["capacity#all", "capacity"]["active_runs"]["N"])
    assert not active, f"{active} runs count as active, and there is none"
    world.watch._found.clear()  # noqa: SLF001 - it has seen what this put in


@schedule()
def a_head_cannot_be_read(world: World) -> None:
    world.submit("a", works=[RUNS_ON])
    world.work()
    head = world.table.items[world.run_id("a"), "head"]
    # As a later version would write it, which was rolled back.
    _put(world, head | {"source": {"M": {"type": {"S": "carrier_pigeon"}}}})
    for _ in range(20):
        world.advance(60)
        # The watch takes what fails for a fault of the sweep.
        report = world.sweeper.sweep()
        assert report.failed == 1, f"nobody is told of it: {report}"
    active = int(world.table.items["capacity#all", "capacity"]["active_runs"]["N"])
    assert active == 1, f"its slot was given away: {active} runs count as active"
    _put(world, head)
    world.cancel("a")


def _put(world: World, item: dict[str, Any]) -> None:
    world.table.transact_write_items(TransactItems=[{"Put": {"Item": item}}])
    world.deliveries.clear()
