"""An ECS model for tests, with a clock and a runtime that the test moves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.containers import ManualRuntime
from local.ecs import Ecs

if TYPE_CHECKING:
    from collections.abc import Collection

    from local.faults import Faults

CLUSTER_ARN = "arn:aws:ecs:eu-west-1:123456789012:cluster/runs"
DEFINITION_ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/runner:3"
DEFINITION: dict[str, Any] = {
    "taskDefinitionArn": DEFINITION_ARN,
    "family": "runner",
    "revision": 3,
    "cpu": "1024",
    "memory": "4096",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "runtimePlatform": {"cpuArchitecture": "ARM64"},
    "containerDefinitions": [
        {
            "name": "runner",
            "image": "local",
            "essential": True,
            "memory": 4096,
            "command": ["python", "-m", "runner"],
            "stopTimeout": "45",
            "environment": [{"name": "RUNS_TABLE", "value": "runs"}, {"name": "RUN_ID", "value": "none"}],
            "secrets": [{"name": "ZENML_STORE_API_KEY", "valueFrom": "arn:aws:secretsmanager:::secret:key"}],
        },
    ],
}
REQUEST: dict[str, Any] = {
    "cluster": "runs",
    "taskDefinition": "runner",
    "launchType": "FARGATE",
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}},
    "startedBy": "run-1/1/1",
    "tags": [{"key": "pipeline", "value": "training"}],
    "overrides": {"containerOverrides": [{"name": "runner", "environment": [{"name": "RUN_ID", "value": "run-1"}]}]},
}


class Bench:
    """An Ecs with a clock and a runtime that the test moves."""

    def __init__(
        self,
        *,
        obedient: bool = False,
        refuse: str | None = None,
        faults: Faults | None = None,
        providers: Collection[str] = ("FARGATE", "FARGATE_SPOT"),
    ) -> None:
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)
        self.runtime = ManualRuntime(obedient=obedient)
        self.events: list[dict[str, Any]] = []
        self.publish = self.events.append
        self.refuse = refuse
        self.ecs = Ecs(
            region="eu-west-1",
            account_id="123456789012",
            runtime=self.runtime,
            task_definition={"runner": DEFINITION, DEFINITION_ARN: {"taskDefinition": DEFINITION}}.__getitem__,
            cluster_exists={"runs", "others"}.__contains__,
            publish=self._publish,
            clock=lambda: self.now,
            capacity_providers=lambda _: providers,
            placement=lambda _: self.refuse,
            faults=faults,
        )

    def _publish(self, event: dict[str, Any]) -> None:
        self.publish(event)

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        status, answer = self.ecs.handle(action, body)
        assert status == 200, answer
        json.dumps(answer)  # as it goes over the wire
        return answer

    def refused(self, action: str, **body: Any) -> dict[str, Any]:
        status, answer = self.ecs.handle(action, body)
        assert status == 400, answer
        return answer

    def run_task(self, **changes: Any) -> str:
        return str(self.call("RunTask", **(REQUEST | changes))["tasks"][0]["taskArn"])

    def describe(self, arn: str, **body: Any) -> dict[str, Any]:
        answer = self.call("DescribeTasks", cluster="runs", tasks=[arn], **body)
        assert answer["failures"] == []
        return dict(answer["tasks"][0])

    def states(self) -> list[tuple[str, str, int]]:
        details = [event["detail"] for event in self.events]
        return [(detail["lastStatus"], detail["desiredStatus"], detail["version"]) for detail in details]
