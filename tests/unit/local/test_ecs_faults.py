"""What befalls tasks: Spot, no room, starts that fail or never come, deaths; and calls that see it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.faults import Faults
from tests.unit.local.bench import REQUEST, Bench

if TYPE_CHECKING:
    from local.ecs_tasks import Task

NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
SPOT: dict[str, Any] = {
    "launchType": None,
    "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
}


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def bench(faults: Faults) -> Bench:
    return Bench(faults=faults)


def run_on(subnets: list[str], **changes: Any) -> dict[str, Any]:
    return REQUEST | {"networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets}}} | changes


class TestCapacityProviders:
    def test_a_strategy_may_only_name_the_clusters_own(self) -> None:
        bench = Bench(providers=["FARGATE"])
        answer = bench.refused("RunTask", **(REQUEST | SPOT))
        assert answer["__type"] == "InvalidParameterException"
        assert "not associated with the cluster" in answer["message"]
        bench.run_task()  # a launch type needs none

    def test_one_of_several_needs_a_weight(self, bench: Bench) -> None:
        strategy = [{"capacityProvider": "FARGATE"}, {"capacityProvider": "FARGATE_SPOT", "weight": 0}]
        answer = bench.refused("RunTask", **(REQUEST | {"launchType": None, "capacityProviderStrategy": strategy}))
        assert "weight" in answer["message"]

    def test_the_host_is_told(self, bench: Bench) -> None:
        bench.run_task(**SPOT)
        bench.run_task()
        assert [task.capacity_provider for task in bench.runtime.tasks] == ["FARGATE_SPOT", None]


class TestSpotInterruption:
    def test_the_warning_is_an_event_and_sigterm(self, bench: Bench) -> None:
        arn = bench.run_task(**SPOT)
        bench.runtime.run(arn)
        bench.later(minutes=5)
        assert bench.ecs.interrupt(arn)
        detail = bench.events[-1]["detail"]
        assert (detail["lastStatus"], detail["desiredStatus"]) == ("RUNNING", "STOPPED")
        assert (detail["stopCode"], detail["stoppedReason"]) == ("SpotInterruption", "Your Spot Task was interrupted.")
        assert detail["stoppingAt"] == "2030-01-01T12:05:00.000Z"
        assert bench.runtime.stops == [(arn.rsplit("/", 1)[-1], 45.0)]

    def test_the_exit_code_is_the_containers_own(self, bench: Bench) -> None:
        arn = bench.run_task(**SPOT)
        bench.runtime.run(arn)
        bench.ecs.interrupt(arn)
        bench.runtime.exit(arn, 1)
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "SpotInterruption")
        assert task["containers"][0]["exitCode"] == 1

    def test_happens_once(self, bench: Bench) -> None:
        arn = bench.run_task(**SPOT)
        bench.runtime.run(arn)
        assert bench.ecs.interrupt(arn)
        assert not bench.ecs.interrupt(arn)
        assert len(bench.runtime.stops) == 1

    def test_a_task_that_was_stopped_before_keeps_its_reason(self) -> None:
        bench = Bench(obedient=True)
        arn = bench.run_task(**SPOT)
        bench.call("StopTask", cluster="runs", task=arn)
        assert not bench.ecs.interrupt(arn)
        assert bench.describe(arn)["stopCode"] == "UserInitiated"

    def test_only_spot_tasks_that_exist_can_be_interrupted(self, bench: Bench) -> None:
        with pytest.raises(ValueError, match="is not of FARGATE_SPOT"):
            bench.ecs.interrupt(bench.run_task())
        with pytest.raises(KeyError):
            bench.ecs.interrupt("arn:aws:ecs:eu-west-1:123456789012:task/runs/none")

    def test_by_chance_it_comes_some_time_after_the_start(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.spot_interruption")
        demand, spot = bench.run_task(), bench.run_task(**SPOT)
        bench.runtime.run(demand)
        bench.runtime.run(spot)
        assert bench.describe(spot)["desiredStatus"] == "RUNNING"
        assert faults.release() == 1
        assert bench.describe(spot)["stopCode"] == "SpotInterruption"
        assert bench.describe(demand)["desiredStatus"] == "RUNNING"

    def test_one_that_comes_too_late_changes_nothing(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.spot_interruption", 2)
        for _ in range(2):
            arn = bench.run_task(**SPOT)
            bench.runtime.run(arn)
            bench.runtime.exit(arn, 0)
        faults.release(1)
        assert bench.describe(arn)["stopCode"] == "EssentialContainerExited"
        bench.later(hours=2)
        bench.call("ListTasks", cluster="runs")  # which forgets them
        faults.release()


class TestDeaths:
    @pytest.mark.parametrize("code", ["InfrastructureHealth", "TerminationNotice"])
    def test_a_lost_host_gives_no_warning_and_no_exit_code(self, bench: Bench, code: str) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        assert bench.ecs.lose_host(arn, code)
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", code)
        assert "exitCode" not in task["containers"][0]
        assert bench.runtime.live == []
        assert [state for state, _, _ in bench.states()][3:] == ["DEPROVISIONING", "STOPPED"]
        assert not bench.ecs.lose_host(arn)

    def test_a_host_can_be_lost_before_the_start(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.ecs.lose_host(arn)
        task = bench.describe(arn)
        assert task["stopCode"] == "InfrastructureHealth"
        assert "startedAt" not in task

    def test_a_host_can_be_lost_while_the_task_is_being_started(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = bench.runtime.start

        def slow_start(task: Task, *callbacks: Any) -> None:
            bench.ecs.lose_host(task.arn)
            start(task, *callbacks)

        monkeypatch.setattr(bench.runtime, "start", slow_start)
        assert bench.describe(bench.run_task())["stopCode"] == "InfrastructureHealth"
        assert bench.runtime.live == []

    def test_a_host_that_is_lost_while_the_task_stops_leaves_the_first_reason(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.call("StopTask", cluster="runs", task=arn)
        assert bench.ecs.lose_host(arn)
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
        assert "exitCode" not in task["containers"][0]

    def test_a_task_can_be_killed_for_its_memory(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        assert bench.ecs.exhaust_memory(arn)
        task = bench.describe(arn)
        assert (task["stopCode"], task["containers"][0]["exitCode"]) == ("EssentialContainerExited", 137)
        assert task["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"

    @pytest.mark.parametrize(
        ("fault", "code"), [("platform_death", "InfrastructureHealth"), ("out_of_memory", "EssentialContainerExited")]
    )
    def test_by_chance_they_come_some_time_after_the_start(
        self, bench: Bench, faults: Faults, fault: str, code: str
    ) -> None:
        faults.always(f"ecs.{fault}")
        arn = bench.run_task()
        assert faults.held == 0
        bench.runtime.run(arn)
        assert faults.release() == 1
        assert bench.describe(arn)["stopCode"] == code

    def test_nobody_dies_after_the_end_of_the_model(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.spot_interruption")
        arn = bench.run_task(**SPOT)
        bench.runtime.run(arn)
        bench.ecs.close()
        assert not bench.ecs.interrupt(arn)
        assert not bench.ecs.lose_host(arn)


class TestNoRoom:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ("capacity", NO_CAPACITY),
            ("resource", "RESOURCE:FARGATE"),
            ("quota", "You've reached the limit on the number of vCPUs you can run concurrently"),
        ],
    )
    def test_run_tasks_failures_say_why(self, bench: Bench, faults: Faults, fault: str, reason: str) -> None:
        faults.next(f"ecs.{fault}")
        answer = bench.call("RunTask", **REQUEST)
        assert answer == {"tasks": [], "failures": [{"reason": reason}]}
        assert bench.events == []
        assert bench.runtime.tasks == []
        bench.run_task()

    def test_spot_alone_may_have_none(self, bench: Bench, faults: Faults) -> None:
        faults.always("ecs.FARGATE_SPOT.capacity")
        assert bench.call("RunTask", **(REQUEST | SPOT))["failures"] == [{"reason": NO_CAPACITY}]
        bench.run_task()

    def test_a_subnet_alone_may_have_none(self, bench: Bench, faults: Faults) -> None:
        faults.always("ecs.subnet-1.capacity")
        (task,) = bench.call("RunTask", **run_on(["subnet-1", "subnet-2"]))["tasks"]
        assert {"name": "subnetId", "value": "subnet-2"} in task["attachments"][0]["details"]
        assert bench.call("RunTask", **run_on(["subnet-1"]))["failures"] == [{"reason": NO_CAPACITY}]
        faults.always("ecs.subnet-2.capacity")
        assert bench.call("RunTask", **run_on(["subnet-1", "subnet-2"]))["tasks"] == []

    def test_spot_in_one_subnet_alone_may_have_none(self, bench: Bench, faults: Faults) -> None:
        faults.always("ecs.FARGATE_SPOT@subnet-1.capacity")
        assert bench.call("RunTask", **run_on(["subnet-1"], **SPOT))["tasks"] == []
        assert bench.call("RunTask", **run_on(["subnet-2"], **SPOT))["failures"] == []
        assert bench.call("RunTask", **run_on(["subnet-1"]))["failures"] == []

    def test_the_first_subnet_is_taken_if_it_has_room(self, bench: Bench) -> None:
        (task,) = bench.call("RunTask", **run_on(["subnet-7", "subnet-2"]))["tasks"]
        assert {"name": "subnetId", "value": "subnet-7"} in task["attachments"][0]["details"]

    def test_a_refusal_is_replayed_with_its_token(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.capacity")
        first = bench.call("RunTask", **REQUEST, clientToken="a")
        assert bench.call("RunTask", **REQUEST, clientToken="a") == first


class TestStarts:
    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("image_pull", ["CannotPullContainerError: ", "failed to resolve ref local: local: not found"]),
            (
                "secrets",
                [
                    "ResourceInitializationError: unable to pull secrets or registry auth",
                    "AccessDeniedException",
                    "asm",
                ],
            ),
            ("no_egress", ["ResourceInitializationError: ", "api.ecr.eu-west-1.amazonaws.com", "i/o timeout"]),
        ],
    )
    def test_fail_in_awss_words(self, bench: Bench, faults: Faults, fault: str, words: list[str]) -> None:
        faults.next(f"ecs.{fault}")
        arn = bench.run_task()
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "TaskFailedToStart")
        assert all(word in task["stoppedReason"] for word in words), task["stoppedReason"]
        assert "exitCode" not in task["containers"][0]
        assert "startedAt" not in task
        assert [state for state, _, _ in bench.states()] == ["PROVISIONING", "PENDING", "DEPROVISIONING", "STOPPED"]
        assert bench.runtime.tasks == []

    def test_without_capacity_there_are_no_containers(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.late_capacity")
        answer = bench.call("RunTask", **REQUEST)
        assert answer["failures"] == []
        task = bench.describe(answer["tasks"][0]["taskArn"])
        assert (task["stopCode"], task["stoppedReason"], task["containers"]) == ("TaskFailedToStart", NO_CAPACITY, [])

    @pytest.mark.parametrize("status", ["PROVISIONING", "PENDING"])
    def test_that_never_come_can_be_stopped(self, bench: Bench, faults: Faults, status: str) -> None:
        faults.next(f"ecs.stuck_{status.lower()}")
        arn = bench.run_task()
        bench.later(minutes=30)
        assert bench.describe(arn)["lastStatus"] == status
        assert bench.call("ListTasks", cluster="runs")["taskArns"] == [arn]
        assert bench.runtime.tasks == []
        bench.call("StopTask", cluster="runs", task=arn, reason="too late")
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
        assert bench.runtime.stops == []

    def test_that_never_come_can_be_interrupted_or_lose_their_host(self, bench: Bench, faults: Faults) -> None:
        faults.next("ecs.stuck_provisioning", 2)
        first, second = bench.run_task(**SPOT), bench.run_task()
        bench.ecs.interrupt(first)
        bench.ecs.lose_host(second)
        ends = [(task["lastStatus"], task["stopCode"]) for task in (bench.describe(first), bench.describe(second))]
        assert ends == [("STOPPED", "SpotInterruption"), ("STOPPED", "InfrastructureHealth")]

    def test_of_spot_alone_may_fail(self, bench: Bench, faults: Faults) -> None:
        faults.always("ecs.FARGATE_SPOT.image_pull")
        assert bench.describe(bench.run_task(**SPOT))["lastStatus"] == "STOPPED"
        assert bench.describe(bench.run_task())["lastStatus"] == "PENDING"


class TestViews:
    def test_describe_tasks_may_miss_some(self, bench: Bench, faults: Faults) -> None:
        first, second = bench.run_task(), bench.run_task()
        faults.next("ecs.missing", after=1)
        answer = bench.call("DescribeTasks", cluster="runs", tasks=[first, second])
        assert [task["taskArn"] for task in answer["tasks"]] == [first]
        assert answer["failures"] == [{"arn": second, "reason": "MISSING"}]

    def test_list_tasks_may_not_show_a_task_yet(self, bench: Bench, faults: Faults) -> None:
        arn = bench.run_task()
        faults.next("ecs.unlisted")
        assert bench.call("ListTasks", cluster="runs", startedBy="run-1/1/1")["taskArns"] == []
        assert bench.call("ListTasks", cluster="runs", startedBy="run-1/1/1")["taskArns"] == [arn]

    def test_the_memory_of_stopped_tasks_can_be_made_shorter(self) -> None:
        bench = Bench(faults=Faults.parse("memory_seconds=60"))
        first = bench.run_task(clientToken="a")
        bench.runtime.exit(first, 0)
        bench.later(seconds=59)
        assert bench.describe(first)["lastStatus"] == "STOPPED"
        bench.later(seconds=1)
        assert bench.call("DescribeTasks", cluster="runs", tasks=[first])["tasks"] == []
        assert bench.run_task(clientToken="a") != first
