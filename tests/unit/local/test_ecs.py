"""The model of ECS: its rules, its states, its events. Nothing runs and no socket is opened."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from local.ecs import ContainerExit, Ecs, Task
from tests.unit.local.bench import CLUSTER_ARN, DEFINITION, DEFINITION_ARN, REQUEST, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestLifecycle:
    def test_a_task_goes_through_the_states_of_fargate_with_a_rising_version(self, bench: Bench) -> None:
        arn = bench.run_task()
        assert bench.describe(arn)["lastStatus"] == "PENDING"
        bench.later(seconds=30)
        bench.runtime.run(arn)
        bench.later(seconds=10)
        bench.runtime.exit(arn, 0)
        assert bench.states() == [
            ("PROVISIONING", "RUNNING", 1),
            ("PENDING", "RUNNING", 2),
            ("RUNNING", "RUNNING", 3),
            ("DEPROVISIONING", "STOPPED", 4),
            ("STOPPED", "STOPPED", 5),
        ]
        task = bench.describe(arn)
        created = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
        times = {name: task[name] - created for name in task if name.endswith("At")}
        assert times == {
            "createdAt": 0,
            "pullStartedAt": 0,
            "pullStoppedAt": 30,
            "startedAt": 30,
            "connectivityAt": 30,
            "stoppingAt": 40,
            "executionStoppedAt": 40,
            "stoppedAt": 40,
        }
        assert task["stopCode"] == "EssentialContainerExited"
        assert task["stoppedReason"] == "Essential container in task exited"
        assert task["startedBy"] == "run-1/1/1"
        (container,) = task["containers"]
        assert container["name"] == "runner"
        assert container["lastStatus"] == "STOPPED"
        assert container["exitCode"] == 0
        assert "reason" not in container

    def test_run_task_answers_with_the_task_as_it_was_created(self, bench: Bench) -> None:
        answer = bench.call("RunTask", **REQUEST)
        (task,) = answer["tasks"]
        assert answer["failures"] == []
        assert (task["lastStatus"], task["desiredStatus"], task["version"]) == ("PROVISIONING", "RUNNING", 1)
        assert task["taskArn"].startswith("arn:aws:ecs:eu-west-1:123456789012:task/runs/")
        assert task["clusterArn"] == CLUSTER_ARN
        assert task["taskDefinitionArn"] == DEFINITION_ARN
        assert task["createdAt"] == datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
        assert task["overrides"]["containerOverrides"] == REQUEST["overrides"]["containerOverrides"]

    def test_the_runtime_gets_definition_and_overrides_applied(self, bench: Bench) -> None:
        bench.run_task()
        (task,) = bench.runtime.tasks
        assert task.container.environment == {"RUNS_TABLE": "runs", "RUN_ID": "run-1"}
        assert task.container.command == ("python", "-m", "runner")
        assert task.container.stop_timeout == 45
        assert (task.cpu, task.memory, task.memory_limit) == (1024, 4096, 4096)
        assert (task.family, task.revision) == ("runner", "3")
        assert "run-1" not in repr(task)

    def test_an_image_that_cannot_be_pulled_fails_the_start(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.exit(arn, None, "CannotPullContainerError: failed to resolve ref nothing: not found")
        task = bench.describe(arn)
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError: ")
        assert "startedAt" not in task
        assert "exitCode" not in task["containers"][0]

    def test_a_runtime_that_raises_fails_the_start(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise OSError("no more processes")

        monkeypatch.setattr(bench.runtime, "start", broken)
        task = bench.describe(bench.run_task())
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "TaskFailedToStart")
        assert task["stoppedReason"] == "ResourceInitializationError: no more processes"

    def test_a_lost_host_leaves_no_exit_code(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.runtime.exit(arn, None)
        task = bench.describe(arn)
        assert task["stopCode"] == "InfrastructureHealth"
        assert "exitCode" not in task["containers"][0]

    def test_out_of_memory_is_the_containers_reason(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.runtime.exit(arn, 137, "OutOfMemoryError: Container killed due to memory usage")
        task = bench.describe(arn)
        assert task["containers"][0]["exitCode"] == 137
        assert task["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
        assert task["stopCode"] == "EssentialContainerExited"

    def test_an_exit_that_overtakes_the_start_passes_through_running(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.exit(arn, 3)
        assert [state for state, _, _ in bench.states()][2:] == ["RUNNING", "DEPROVISIONING", "STOPPED"]
        assert "startedAt" in bench.describe(arn)

    def test_a_second_exit_changes_nothing(self, bench: Bench) -> None:
        arn = bench.run_task()
        on_exit, _ = bench.runtime._callbacks[arn.rsplit("/", 1)[-1]]  # noqa: SLF001 - a runtime that repeats itself
        on_exit(ContainerExit(0))
        on_exit(ContainerExit(1))
        assert bench.describe(arn)["containers"][0]["exitCode"] == 0
        assert [state for state, _, _ in bench.states()].count("STOPPED") == 1


class TestEvents:
    def test_events_have_the_shape_that_ecs_sends(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.runtime.exit(arn, 1)
        event = json.loads(json.dumps(bench.events[-1]))
        detail = event.pop("detail")
        assert event.pop("id")
        assert event == {
            "version": "0",
            "detail-type": "ECS Task State Change",
            "source": "aws.ecs",
            "account": "123456789012",
            "time": "2030-01-01T12:00:00Z",
            "region": "eu-west-1",
            "resources": [arn],
        }
        assert detail["taskArn"] == arn
        assert detail["clusterArn"] == CLUSTER_ARN
        assert detail["taskDefinitionArn"] == DEFINITION_ARN
        assert detail["createdAt"] == detail["stoppedAt"] == detail["updatedAt"] == "2030-01-01T12:00:00.000Z"
        assert detail["startedBy"] == "run-1/1/1"
        assert detail["containers"][0]["exitCode"] == 1
        assert (detail["cpu"], detail["memory"], detail["launchType"]) == ("1024", "4096", "FARGATE")
        assert detail["group"] == "family:runner"
        assert detail["attachments"][0]["type"] == "eni"
        assert detail["attachments"][0]["status"] == "DELETED"
        assert "tags" not in detail

    def test_each_event_has_an_id_of_its_own_and_none_changes_later(self, bench: Bench) -> None:
        arn = bench.run_task()
        before = json.dumps(bench.events)
        bench.runtime.run(arn)
        assert json.dumps(bench.events[:2]) == before
        assert len({event["id"] for event in bench.events}) == 3

    def test_publish_may_call_back_and_order_holds(self) -> None:
        bench = Bench(obedient=True)
        plain = bench.events.append

        def publish(event: dict[str, Any]) -> None:
            plain(event)
            if event["detail"]["lastStatus"] == "RUNNING" and event["detail"]["desiredStatus"] == "RUNNING":
                bench.call("StopTask", cluster="runs", task=event["detail"]["taskArn"])

        bench.publish = publish
        arn = bench.run_task()
        bench.runtime.run(arn)
        assert [version for _, _, version in bench.states()] == [1, 2, 3, 4, 5, 6]

    def test_a_publisher_that_raises_stops_neither_task_nor_later_events(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        plain = bench.events.append

        def publish(event: dict[str, Any]) -> None:
            if event["detail"]["lastStatus"] == "PENDING":
                raise RuntimeError("the bus is down")
            plain(event)

        bench.publish = publish
        arn = bench.run_task()
        bench.runtime.exit(arn, 0)
        assert [version for _, _, version in bench.states()] == [1, 3, 4, 5]
        assert "the bus is down" in caplog.text

    def test_nothing_is_published_after_close(self, bench: Bench) -> None:
        bench.run_task()
        count = len(bench.events)
        bench.ecs.close()
        assert bench.runtime.closed
        assert bench.refused("RunTask", **REQUEST)["__type"] == "ServerException"
        assert len(bench.events) == count


class TestClientToken:
    def test_a_replay_gets_the_first_answer_and_starts_nothing(self, bench: Bench) -> None:
        first = bench.call("RunTask", **REQUEST, clientToken="t" * 64)
        bench.runtime.run(first["tasks"][0]["taskArn"])
        assert bench.call("RunTask", **REQUEST, clientToken="t" * 64) == first
        assert len(bench.runtime.tasks) == 1

    def test_a_dead_task_is_replayed_for_an_hour_after_its_end(self, bench: Bench) -> None:
        first = bench.call("RunTask", **REQUEST, clientToken="a")
        bench.later(hours=2)
        bench.runtime.exit(first["tasks"][0]["taskArn"], 1)
        bench.later(minutes=59)
        assert bench.call("RunTask", **REQUEST, clientToken="a") == first
        bench.later(minutes=1)
        assert bench.call("RunTask", **REQUEST, clientToken="a") != first
        assert len(bench.runtime.tasks) == 2

    def test_a_token_is_forgotten_after_a_day_although_the_task_lives(self, bench: Bench) -> None:
        bench.run_task(clientToken="a")
        bench.later(hours=23, minutes=59)
        bench.run_task(clientToken="a")
        assert len(bench.runtime.tasks) == 1
        bench.later(minutes=1)
        bench.run_task(clientToken="a")
        assert len(bench.runtime.tasks) == 2

    def test_other_parameters_conflict_and_name_the_task(self, bench: Bench) -> None:
        arn = bench.run_task(clientToken="a")
        answer = bench.refused("RunTask", **(REQUEST | {"startedBy": "other"}), clientToken="a")
        assert answer["__type"] == "ConflictException"
        assert answer["resourceIds"] == [arn]
        assert len(bench.runtime.tasks) == 1

    def test_each_cluster_has_its_own_tokens(self, bench: Bench) -> None:
        bench.run_task(clientToken="a")
        bench.run_task(clientToken="a", cluster="others")
        assert len(bench.runtime.tasks) == 2

    def test_refused_placements_are_replayed_too(self) -> None:
        bench = Bench(refuse="RESOURCE:CPU")
        first = bench.call("RunTask", **REQUEST, clientToken="a")
        assert first["tasks"] == []
        assert [failure["reason"] for failure in first["failures"]] == ["RESOURCE:CPU"]
        bench.refuse = None
        assert bench.call("RunTask", **REQUEST, clientToken="a") == first
        assert bench.call("RunTask", **REQUEST, clientToken="b")["failures"] == []
        assert bench.events[0]["detail"]["lastStatus"] == "PROVISIONING"

    def test_refused_requests_are_not_remembered(self, bench: Bench) -> None:
        bench.refused("RunTask", **(REQUEST | {"taskDefinition": "nothing"}), clientToken="a")
        bench.run_task(clientToken="a")

    @pytest.mark.parametrize("token", ["t" * 65, "a b", "é"])
    def test_bad_tokens_are_refused(self, bench: Bench, token: str) -> None:
        assert bench.refused("RunTask", **REQUEST, clientToken=token)["__type"] == "InvalidParameterException"

    def test_one_token_from_many_threads_starts_one_task(self, bench: Bench) -> None:
        # All have looked for the token, and found none, before the first of them creates its task.
        barrier = threading.Barrier(8)

        def definition(_: str) -> dict[str, Any]:
            barrier.wait(10)
            return DEFINITION

        bench.ecs._task_definition = definition  # noqa: SLF001 - the one call between the two looks

        with ThreadPoolExecutor(8) as pool:
            arns = set(pool.map(lambda _: bench.run_task(clientToken="a"), range(8)))
        assert len(arns) == len(bench.runtime.tasks) == 1


class TestRunTaskRefusals:
    @pytest.mark.parametrize(
        ("changes", "code", "words"),
        [
            ({"cluster": "nowhere"}, "ClusterNotFoundException", "Cluster not found."),
            ({"taskDefinition": "nothing"}, "ClientException", "TaskDefinition not found."),
            ({"taskDefinition": None}, "InvalidParameterException", "taskDefinition"),
            ({"startedBy": "s" * 129}, "InvalidParameterException", "startedBy"),
            ({"networkConfiguration": None}, "InvalidParameterException", "Network Configuration"),
            (
                {"networkConfiguration": {"awsvpcConfiguration": {"subnets": [""]}}},
                "InvalidParameterException",
                "subnets",
            ),
            ({"launchType": None}, "InvalidParameterException", "No Container Instances"),
            ({"launchType": "EC2"}, "InvalidParameterException", "No Container Instances"),
            (
                {"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
                "InvalidParameterException",
                "both a launch type and capacity provider strategy",
            ),
            ({"count": 11}, "InvalidParameterException", "Count"),
            ({"overrides": {"containerOverrides": [{"name": "x"}]}}, "InvalidParameterException", "named x"),
            ({"overrides": {"cpu": "1024", "memory": "1000"}}, "InvalidParameterException", "No Fargate configuration"),
            ({"overrides": {"memory": "2048"}}, "InvalidParameterException", "greater than for task"),
            ({"cluster": 7}, "SerializationException", "cluster"),
        ],
    )
    def test_are_ecs_own(self, bench: Bench, changes: dict[str, Any], code: str, words: str) -> None:
        answer = bench.refused("RunTask", **(REQUEST | changes))
        assert answer["__type"] == code
        assert words in answer["message"]
        assert bench.runtime.tasks == []
        assert bench.events == []

    def test_overrides_have_8192_characters_at_most(self, bench: Bench) -> None:
        def overrides(size: int) -> dict[str, Any]:
            empty = {"containerOverrides": [{"name": "runner", "environment": [{"name": "X", "value": ""}]}]}
            filler = "ü" * (size - len(json.dumps(empty, separators=(",", ":"))))
            return {"containerOverrides": [{"name": "runner", "environment": [{"name": "X", "value": filler}]}]}

        bench.run_task(overrides=overrides(8192))
        answer = bench.refused("RunTask", **(REQUEST | {"overrides": overrides(8193)}))
        assert answer["__type"] == "InvalidParameterException"
        assert "8192" in answer["message"]

    def test_started_by_may_have_128_characters(self, bench: Bench) -> None:
        assert bench.describe(bench.run_task(startedBy="s" * 128))["startedBy"] == "s" * 128

    def test_more_memory_needs_the_containers_own_limit_raised_too(self, bench: Bench) -> None:
        bench.run_task(overrides={"memory": "8192"})
        both = {"memory": "8192", "containerOverrides": [{"name": "runner", "memory": 8192}]}
        bench.run_task(overrides=both)
        assert [task.memory_limit for task in bench.runtime.tasks] == [4096, 8192]

    def test_a_task_of_another_size_is_shown_with_it(self, bench: Bench) -> None:
        """In the answers as in the events: the task's, the container's, and what was asked for."""
        overrides = {
            "cpu": "2048",
            "memory": "8192",
            "containerOverrides": [{"name": "runner", "cpu": 1024, "memory": 8000}],
        }
        arn = bench.run_task(overrides=overrides)
        for shown in (bench.describe(arn), bench.events[-1]["detail"]):
            (container,) = shown["containers"]
            assert (shown["cpu"], shown["memory"]) == ("2048", "8192")
            assert (container["cpu"], container["memory"]) == ("1024", "8000")
            assert {name: shown["overrides"][name] for name in overrides} == overrides
        (task,) = bench.runtime.tasks
        assert (task.cpu, task.memory, task.memory_limit) == (2048, 8192, 8000)

    def test_a_capacity_provider_strategy_stands_in_for_the_launch_type(self, bench: Bench) -> None:
        strategy = [{"capacityProvider": "FARGATE", "weight": 1}, {"capacityProvider": "FARGATE_SPOT", "weight": 4}]
        task = bench.describe(bench.run_task(launchType=None, capacityProviderStrategy=strategy))
        assert task["capacityProviderName"] == "FARGATE_SPOT"
        assert task["launchType"] == "FARGATE"


class TestStopTask:
    def test_a_running_task_is_told_with_its_own_timeout(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.later(seconds=5)
        task = bench.call("StopTask", cluster="runs", task=arn, reason="cancelled by its owner")["task"]
        assert (task["lastStatus"], task["desiredStatus"]) == ("RUNNING", "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "cancelled by its owner")
        assert task["stoppingAt"] - task["createdAt"] == 5
        assert bench.runtime.stops == [(arn.rsplit("/", 1)[-1], 45.0)]
        bench.later(seconds=5)
        bench.runtime.exit(arn, 143)
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
        assert task["stoppedReason"] == "cancelled by its owner"
        assert task["stoppedAt"] - task["stoppingAt"] == 5
        assert task["containers"][0]["exitCode"] == 143
        assert bench.states()[3:] == [
            ("RUNNING", "STOPPED", 4),
            ("DEPROVISIONING", "STOPPED", 5),
            ("STOPPED", "STOPPED", 6),
        ]

    def test_a_pending_task_ends_without_an_exit_code(self) -> None:
        bench = Bench(obedient=True)
        arn = bench.run_task()
        bench.call("StopTask", cluster="runs", task=arn)
        task = bench.describe(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
        assert task["stoppedReason"] == "Task stopped by user"
        assert "exitCode" not in task["containers"][0]

    def test_a_task_stopped_while_it_is_provisioned_is_never_started(self, bench: Bench) -> None:
        plain = bench.events.append

        def publish(event: dict[str, Any]) -> None:
            plain(event)
            if event["detail"]["version"] == 1:
                bench.call("StopTask", cluster="runs", task=event["detail"]["taskArn"])

        bench.publish = publish
        arn = bench.run_task()
        assert bench.runtime.tasks == []
        assert (bench.describe(arn)["lastStatus"], bench.describe(arn)["stopCode"]) == ("STOPPED", "UserInitiated")

    def test_a_stop_while_the_runtime_starts_the_task_is_passed_on(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = bench.runtime.start

        def slow_start(task: Task, *callbacks: Any) -> None:
            bench.call("StopTask", cluster="runs", task=task.arn)
            start(task, *callbacks)

        monkeypatch.setattr(bench.runtime, "start", slow_start)
        arn = bench.run_task()
        assert bench.runtime.stops == [(arn.rsplit("/", 1)[-1], 45.0)]

    def test_stopping_twice_and_stopping_the_dead_change_nothing(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.call("StopTask", cluster="runs", task=arn, reason="first")
        assert bench.call("StopTask", cluster="runs", task=arn, reason="second")["task"]["stoppedReason"] == "first"
        assert len(bench.runtime.stops) == 1
        bench.runtime.exit(arn, 143)
        count = len(bench.events)
        assert bench.call("StopTask", cluster="runs", task=arn)["task"]["lastStatus"] == "STOPPED"
        assert len(bench.events) == count
        assert len(bench.runtime.stops) == 1

    def test_a_task_that_ended_by_itself_keeps_its_reason(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.exit(arn, 0)
        assert bench.call("StopTask", cluster="runs", task=arn)["task"]["stopCode"] == "EssentialContainerExited"

    def test_tags_are_deleted(self, bench: Bench) -> None:
        arn = bench.run_task()
        assert bench.describe(arn, include=["TAGS"])["tags"] == REQUEST["tags"]
        assert bench.describe(arn)["tags"] == []
        bench.call("StopTask", cluster="runs", task=arn)
        assert bench.describe(arn, include=["TAGS"])["tags"] == []

    def test_an_unknown_task_is_refused(self, bench: Bench) -> None:
        answer = bench.refused("StopTask", cluster="runs", task="0" * 32)
        assert answer == {"__type": "InvalidParameterException", "message": "The referenced task was not found."}

    def test_a_task_of_another_cluster_is_not_found(self, bench: Bench) -> None:
        arn = bench.run_task()
        assert bench.refused("StopTask", cluster="others", task=arn)["__type"] == "InvalidParameterException"
        assert bench.refused("StopTask", cluster="nowhere", task=arn)["__type"] == "ClusterNotFoundException"


class TestDescribeAndList:
    def test_unknown_tasks_are_missing(self, bench: Bench) -> None:
        arn = bench.run_task()
        answer = bench.call("DescribeTasks", cluster=CLUSTER_ARN, tasks=[arn.rsplit("/", 1)[-1], "0" * 32])
        assert [task["taskArn"] for task in answer["tasks"]] == [arn]
        missing = f"arn:aws:ecs:eu-west-1:123456789012:task/runs/{'0' * 32}"
        assert answer["failures"] == [{"arn": missing, "reason": "MISSING"}]

    @pytest.mark.parametrize("count", [0, 101])
    def test_one_to_a_hundred_tasks_are_described(self, bench: Bench, count: int) -> None:
        answer = bench.refused("DescribeTasks", cluster="runs", tasks=["0" * 32] * count)
        assert answer["__type"] == "InvalidParameterException"

    def test_stopped_tasks_are_kept_for_an_hour(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.later(days=2)
        bench.runtime.exit(arn, 0)
        bench.later(minutes=59)
        assert bench.describe(arn)["lastStatus"] == "STOPPED"
        bench.later(minutes=1)
        answer = bench.call("DescribeTasks", cluster="runs", tasks=[arn])
        assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
        assert bench.refused("StopTask", cluster="runs", task=arn)["message"] == "The referenced task was not found."

    def test_tasks_are_listed_by_who_started_them(self, bench: Bench) -> None:
        mine = bench.run_task()
        bench.run_task(startedBy="run-2/1/1")
        bench.run_task(cluster="others")
        assert bench.call("ListTasks", cluster="runs", startedBy="run-1/1/1") == {"taskArns": [mine]}
        same = bench.call("ListTasks", cluster="runs", startedBy="run-1/1/1", desiredStatus="RUNNING")
        assert same == {"taskArns": [mine]}
        assert bench.call("ListTasks", cluster="runs", startedBy="run-3/1/1") == {"taskArns": []}

    def test_a_stopping_task_is_listed_under_stopped_only(self, bench: Bench) -> None:
        arn = bench.run_task()
        bench.runtime.run(arn)
        bench.call("StopTask", cluster="runs", task=arn)
        assert bench.call("ListTasks", cluster="runs")["taskArns"] == []
        assert bench.call("ListTasks", cluster="runs", startedBy="run-1/1/1")["taskArns"] == []
        assert bench.call("ListTasks", cluster="runs", desiredStatus="STOPPED")["taskArns"] == [arn]

    @pytest.mark.parametrize(
        "other", [{"family": "runner"}, {"launchType": "FARGATE"}, {"serviceName": "s"}, {"desiredStatus": "STOPPED"}]
    )
    def test_started_by_must_be_the_only_filter(self, bench: Bench, other: dict[str, str]) -> None:
        answer = bench.refused("ListTasks", cluster="runs", startedBy="run-1/1/1", **other)
        assert answer["__type"] == "InvalidParameterException"

    def test_lists_come_in_pages(self, bench: Bench) -> None:
        arns = [bench.run_task(startedBy=f"run-{number}") for number in range(5)]
        first = bench.call("ListTasks", cluster="runs", maxResults=3)
        rest = bench.call("ListTasks", cluster="runs", maxResults=3, nextToken=first["nextToken"])
        assert first["taskArns"] + rest["taskArns"] == arns
        assert "nextToken" not in rest
        assert bench.call("ListTasks", cluster="runs", family="runner")["taskArns"] == arns
        assert bench.call("ListTasks", cluster="runs", family="other")["taskArns"] == []


def test_unknown_actions_are_refused(bench: Bench) -> None:
    assert bench.refused("StartTask")["__type"] == "UnknownOperationException"
    assert {"RunTask", "StopTask", "DescribeTasks", "ListTasks"} == Ecs.ACTIONS
