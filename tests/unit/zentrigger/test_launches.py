"""Launching: the request, and what ECS's answers mean."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, call

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.factories import TASK, run
from zentrigger.launcher import EcsLauncher
from zentrigger.launches import MAX_OVERRIDES, Launcher, Network, Refused, Started, Unknown, launch, launch_request
from zentrigger.runs import Refusal, Run

NETWORK = Network(("subnet-1",), ("sg-1",), "ENABLED")


def test_the_request_follows_from_the_record_alone() -> None:
    """Same record, same request, so that it can be sent again; another launch has another token."""
    standing = run(status="starting")

    request = launch_request(standing, cluster="c", network=NETWORK)

    assert request == launch_request(Run.model_validate_json(standing.model_dump_json()), cluster="c", network=NETWORK)
    assert request["startedBy"] == f"{standing.run_id}/1/1"
    assert len(request["clientToken"]) <= 64
    tokens = {
        launch_request(standing.model_copy(update=changed), cluster="c", network=NETWORK)["clientToken"]
        for changed in ({}, {"launch": 2}, {"attempt": 2}, {"launch": 999_999, "attempt": 99})
    }
    assert len(tokens) == 4
    assert max(map(len, tokens)) <= 64


def test_a_run_may_have_its_own_size() -> None:
    """The task and its container, which the definition would else keep at its own; as ECS types them."""
    plain = launch_request(run(status="starting"), cluster="c", network=NETWORK)["overrides"]
    sized = run(status="starting", resources={"cpu": 8192, "memory": 61440})

    overrides = launch_request(sized, cluster="c", network=NETWORK)["overrides"]

    assert set(plain) == {"containerOverrides"}
    assert "memory" not in plain["containerOverrides"][0]
    assert (overrides["cpu"], overrides["memory"]) == ("8192", "61440")
    assert overrides["containerOverrides"][0]["memory"] == 61440
    assert len(json.dumps(overrides)) < MAX_OVERRIDES


def _client_error(code: str, status: int, message: str = "said", **extra: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **extra,
    }
    return ClientError(response, "RunTask")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"tasks": [{"taskArn": TASK}], "failures": []}, Started(TASK)),
        ({"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time."}]}, ("capacity", True)),
        ({"tasks": [], "failures": [{"reason": "ACCESS", "detail": "no"}]}, ("launch_refused", False)),
        ({"tasks": [], "failures": []}, Unknown),
        (_client_error("ThrottlingException", 400), ("throttled", True)),
        (_client_error("ClientException", 400, "You've reached the limit on the number of tasks"), ("capacity", True)),
        (_client_error("LimitExceededException", 400), ("throttled", True)),
        (_client_error("ExpiredTokenException", 400), ("throttled", True)),
        (_client_error("InvalidParameterException", 400, "subnet-1 does not exist"), ("launch_refused", False)),
        (_client_error("AccessDeniedException", 400), ("launch_not_permitted", False)),
        (_client_error("ConflictException", 400, resourceIds=[TASK]), Started(TASK)),
        (_client_error("ServerException", 500), Unknown),
        (_client_error("503", 503), Unknown),
        (ReadTimeoutError(endpoint_url="https://ecs"), Unknown),
        (EndpointConnectionError(endpoint_url="https://ecs"), ("ecs_unreachable", True)),
    ],
)
def test_each_answer_is_one_of_three(answer: Any, expected: Any) -> None:
    """Started, surely refused, or unknown; whatever may have started something is never a refusal."""
    once = Mock()
    once.run_task.side_effect = [answer]

    result = EcsLauncher("c", Mock(), once).run_task({})

    if isinstance(expected, tuple):
        assert isinstance(result, Refused)
        assert (result.reason, result.transient) == expected
    elif isinstance(expected, type):
        assert isinstance(result, expected)
    else:
        assert result == expected


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (Started(TASK), lambda records, of: records.record_task.assert_called_once_with(of, TASK)),
        (
            Refused(transient=True, reason="r", message="m"),
            lambda records, of: records.record_refusal.assert_called_once_with(
                of, Refusal(launch=1, transient=True, reason="r", message="m")
            ),
        ),
        (Unknown("?"), lambda records, _of: records.assert_not_called()),
    ],
)
def test_what_is_kept_of_an_answer(answer: object, kept: Callable[[Mock, Run], None]) -> None:
    """An unknown answer changes nothing: the sweep settles it."""
    records, launcher, standing = Mock(), Mock(spec=Launcher), run(status="starting")
    launcher.run_task.return_value = answer

    assert launch(standing, cluster="c", network=NETWORK, launcher=launcher, records=records) == answer

    kept(records, standing)


def test_a_refused_repetition_says_nothing_of_the_first_send() -> None:
    """Unless it is ECS's answer to the token itself."""
    standing = run(status="starting")
    for refused, kept in (
        (Refused(transient=True, reason="throttled", message="m"), 0),
        (Refused(transient=True, reason="capacity", message="m", for_good=True), 1),
    ):
        records, launcher = Mock(), Mock(spec=Launcher)
        launcher.run_task.return_value = refused
        launch(standing, cluster="c", network=NETWORK, launcher=launcher, records=records, again=True)
        assert records.record_refusal.call_count == kept


def test_each_task_is_asked_for_in_its_own_cluster() -> None:
    """A stack may have had another before; one that is deleted has no tasks."""
    client = Mock()
    own, gone, foreign = (f"arn:aws:ecs:r:1:task/{name}" for name in ("c/1", "c/2", "old/3"))
    task = {"taskArn": own, "lastStatus": "RUNNING"}
    deleted = ClientError({"Error": {"Code": "ClusterNotFoundException"}}, "DescribeTasks")
    answer = {"tasks": [task], "failures": [{"arn": gone, "reason": "MISSING"}]}
    client.describe_tasks.side_effect = [answer, deleted]

    states = EcsLauncher("c", client, Mock()).describe([own, gone, foreign])

    assert client.describe_tasks.call_args_list == [
        call(cluster="c", tasks=[own, gone]),
        call(cluster="old", tasks=[foreign]),
    ]
    assert states[own] is not None
    assert (states[gone], states[foreign]) == (None, None)
