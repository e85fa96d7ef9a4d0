"""The ways of a run through the product, each as a script for a world.

A script must do with a world in which any of its steps fails: what it waits for may never come.
"""

from collections.abc import Callable
from dataclasses import dataclass

from local.faults import Faults
from tests.simulation.tasks import FAILS, FREEZES, RUNS_ON, SUCCEEDS, Work
from tests.simulation.world import RETENTION, World

Script = Callable[[World], None]


@dataclass(frozen=True)
class Flow:
    """A script and the world that it is for."""

    name: str
    script: Script
    max_active: int = 2
    max_waiting: int = 10

    def world(self, *, faults: Faults | None = None, seed: int = 0) -> World:
        """Make the world that the script is for."""
        return World(
            max_active=self.max_active, max_waiting=self.max_waiting, faults=faults or Faults(seed=seed), seed=seed
        )


FLOWS: dict[str, Flow] = {}


def flow(*, max_active: int = 2, max_waiting: int = 10) -> Callable[[Script], Script]:
    """Keep a script as one of `FLOWS`."""

    def keep(script: Script) -> Script:
        FLOWS[script.__name__] = Flow(script.__name__, script, max_active, max_waiting)
        return script

    return keep


# ------------------------------------------------------------ there and through


@flow()
def submit_to_end(world: World) -> None:
    world.submit("a", works=[Work(beats=2)])
    world.work()


@flow()
def submitted_by_one_who_asks_once(world: World) -> None:
    world.submit("a", keyed=False)
    world.work()


@flow(max_active=1)
def queue_to_start(world: World) -> None:
    world.submit("first")
    world.submit("second", works=[FAILS])
    world.submit("preferred", priority=5)
    world.work()


@flow(max_active=1, max_waiting=1)
def full_queue(world: World) -> None:
    world.submit("first")
    world.submit("second")
    world.submit("too many")
    world.submit("first")
    world.work()
    world.submit("too many")
    world.work()


@flow(max_active=1)
def pipeline_limit(world: World) -> None:
    world.set_limit("training", 1)
    world.submit("first")
    world.submit("second")
    world.work()


@flow()
def end_without_report(world: World) -> None:
    world.submit("exits", works=[Work("exits", exit_code=0)])
    world.submit("killed", works=[RUNS_ON])
    if world.work_until("killed", "running") and (task := world.task_of("killed")) is not None:
        world.kill_task(task)
    world.work()


@flow()
def repetition(world: World) -> None:
    world.submit("a", works=[FAILS])
    world.work()
    world.repeat("again", "a")
    world.work()


@flow()
def expired_record(world: World) -> None:
    world.submit("a")
    world.settle()
    world.pass_time(RETENTION.total_seconds() + 1)
    world.submit("a", works=[FAILS])
    world.work()


@flow()
def arrivals(world: World) -> None:
    world.arrive("first", overlap="queue", times=2)
    world.arrive("second", overlap="queue")
    world.work()


# ------------------------------------------------------------ cancelling


@flow(max_active=1)
def cancel_queued(world: World) -> None:
    world.submit("first", works=[RUNS_ON])
    world.submit("second")
    world.cancel("second")
    world.work()
    world.cancel("first")
    world.work()


@flow(max_active=1)
def cancel_before_the_task_is_known(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[Work("hangs_before_claim")])
    world.cancel("a")
    world.submit("next")
    world.work()


@flow(max_active=1)
def cancel_what_was_never_sent(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_request")
    world.submit("a")
    world.cancel("a")
    world.submit("next")
    world.work()


@flow()
def cancel_starting(world: World) -> None:
    world.submit("a")
    world.cancel("a")
    world.work()


@flow()
def cancel_running(world: World) -> None:
    world.submit("heeds", works=[RUNS_ON])
    world.submit("heeds not", works=[FREEZES])
    world.work()
    world.cancel("heeds")
    world.cancel("heeds not")
    world.work()


@flow()
def cancel_at_the_end(world: World) -> None:
    world.submit("a")
    world.work(lambda: any(task.finished for task in world.tasks_of("a")))
    world.cancel("a")
    world.work()


# ------------------------------------------------------------ launches that go wrong


@flow()
def refused_for_a_while(world: World) -> None:
    world.faults.next("ecs.capacity")
    world.faults.next("ecs.RunTask.throttle", after=1)
    world.submit("a")
    world.submit("b")
    world.work()


@flow(max_active=1)
def refused_for_good(world: World) -> None:
    world.refusals.append("AGENT")
    world.submit("a")
    world.submit("next")
    world.work()


@flow()
def lost_answer(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_answer")
    world.submit("a", works=[Work("hangs_before_claim"), SUCCEEDS])
    world.submit("b")
    world.work()


@flow()
def lost_request(world: World) -> None:
    world.faults.next("ecs.RunTask.lost_request")
    world.submit("a")
    world.work()


@flow()
def throttled_when_sent_again(world: World) -> None:
    # No event tells of the task's end either: only ECS knows that there was a task.
    world.deaf = True
    world.faults.next("ecs.RunTask.lost_answer")
    world.faults.next("ecs.RunTask.throttle", after=1)
    world.submit("a", works=[Work("exits_before_claim", exit_code=None), SUCCEEDS])
    world.work()
    world.advance(120)
    world.sweep()


# ------------------------------------------------------------ attempts


@flow()
def death_before_claim(world: World) -> None:
    world.submit("a", works=[Work("exits_before_claim", exit_code=None), SUCCEEDS])
    world.work()


@flow()
def budget_of_infrastructure(world: World) -> None:
    world.submit("a", works=[*[Work("exits_before_claim", exit_code=75)] * 3, SUCCEEDS])
    world.work()


@flow(max_active=1)
def failure_with_retry(world: World) -> None:
    world.submit("a", works=[FAILS, SUCCEEDS], retry={"max_attempts": 2, "backoff_seconds": 0})
    world.submit("b", works=[FAILS], retry={"max_attempts": 2, "backoff_seconds": 1, "on": ["ValueError"]})
    world.work()


@flow()
def spot_interruption(world: World) -> None:
    world.submit("a", works=[RUNS_ON, SUCCEEDS], spot=True)
    if world.work_until("a", "running") and (task := world.task_of("a")) is not None:
        if task.task.capacity_provider == "FARGATE_SPOT":
            world.interrupt_task(task)
        else:
            world.lose_host(task)
    world.work()


@flow()
def platform_death(world: World) -> None:
    world.submit("repeated", works=[RUNS_ON, SUCCEEDS], retry={"max_attempts": 2})
    world.submit("not repeated", works=[RUNS_ON])
    world.work()
    for name, befall in (("repeated", world.lose_host), ("not repeated", world.exhaust_memory)):
        task = world.task_of(name)
        if task is not None:
            befall(task)
    world.work()


# ------------------------------------------------------------ deadlines


@flow()
def start_deadline(world: World) -> None:
    world.submit("a", works=[Work("hangs_before_claim"), SUCCEEDS])
    world.work()


@flow()
def run_deadline(world: World) -> None:
    world.submit("told", works=[Work("times_out")], timeout_seconds=60)
    world.submit("not told", works=[RUNS_ON], timeout_seconds=60)
    world.work()


@flow()
def heartbeat_lost(world: World) -> None:
    world.submit("a", works=[FREEZES, SUCCEEDS], retry={"max_attempts": 2})
    world.work()


# ------------------------------------------------------------ concurrency keys


@flow(max_active=3)
def key_queues(world: World) -> None:
    key = {"key": "customer", "limit": 1}
    world.submit("first", concurrency=key)
    world.submit("second", concurrency=key)
    world.submit("other")
    world.work()


@flow(max_active=3)
def key_skips(world: World) -> None:
    key = {"key": "customer", "limit": 1, "on_conflict": "skip"}
    world.submit("first", concurrency=key, works=[Work(beats=0)])
    world.submit("second", concurrency=key)
    world.submit("third", concurrency=key | {"on_conflict": "reject"})
    world.work()
    world.submit("fourth", concurrency=key)
    world.work()
