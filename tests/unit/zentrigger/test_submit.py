"""Recording and launching, with doubles at the edges."""

from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import ValidationError

from tests.factories import IMAGE, MOMENT, TASK, TRAINING, content, run, run_input, snapshot
from zentrigger.capacity import Limits
from zentrigger.catalogue import Snapshot
from zentrigger.errors import (
    BusyError,
    ConflictError,
    IdempotencyClashError,
    InvalidRequestError,
    NotFoundError,
    Problem,
    QueueFullError,
    TooLargeError,
    UnavailableError,
    ZentriggerError,
)
from zentrigger.launches import Network, Refused, Started, Unknown
from zentrigger.resources import Resources
from zentrigger.run_requests import RunRequest, SnapshotRunRequest, TutorialRequest
from zentrigger.run_store import Creation
from zentrigger.runs import Run, RunInput, RunRecord, RunStatus, Source
from zentrigger.submit import Submitter, run_id_for_key

SOURCE = Source(type="http", key_id="k")


class Bench:
    """A submitter between doubles; a first run starts."""

    def __init__(self, published: Snapshot | None = None) -> None:
        self.runs, self.launcher, self.catalogue, self.task_definitions = Mock(), Mock(), Mock(), Mock()
        self.published = published or snapshot()
        self.catalogue.choose.side_effect = self.catalogue.find.side_effect = self._choose
        self.task_definitions.family = "snapshots"
        self.task_definitions.revision.return_value = self.task_definitions.known_revision.return_value = "arn:revision"
        self.runs.create.side_effect = lambda of, _input, **_limits: Creation(
            of.model_copy(update={"status": RunStatus.STARTING}), replayed=False
        )
        self.runs.get.return_value = None
        self.launcher.run_task.return_value = Started(TASK)
        self.submitter = Submitter(
            runs=self.runs,
            catalogue=self.catalogue,
            task_definitions=self.task_definitions,
            launcher=self.launcher,
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            limits=Limits(max_active=1, max_waiting=1, retention_days=1),
            clock=lambda: MOMENT,
        )

    def _choose(self, pipeline: str, choice: object) -> Snapshot:
        if pipeline != TRAINING.pipeline or choice not in (None, "production", 1):
            raise NotFoundError("nobody")
        return self.published

    def submit(self, run_id: str | None = None, **request: Any) -> Creation:
        """Submit a request for the training pipeline."""
        return self.submitter.submit(request.pop("body", None) or asking(**request), SOURCE, run_id=run_id)

    def recorded(self, of: Run, **values: Any) -> None:
        """Have a run on record."""
        self.runs.get.side_effect = lambda run_id: (
            RunRecord(run=of, input=run_input(**values)) if run_id in (of.run_id, "id") else None
        )

    @property
    def executed(self) -> RunInput:
        """What the last recorded run executes."""
        given: RunInput = self.runs.create.call_args.args[1]
        return given


def asking(**values: Any) -> RunRequest:
    """Ask for the training pipeline."""
    return RunRequest.model_validate({"pipeline": TRAINING.pipeline} | values)


def test_a_run_is_recorded_then_launched() -> None:
    """With the snapshot that it runs, and an end to its record."""
    bench = Bench()

    created = bench.submit(parameters={"test_size": 0.5}, snapshot="production").run

    assert created.task_arn == TASK
    assert (created.snapshot, created.task_definition) == ("training_pipeline:1", "arn:revision")
    assert (created.retention_days, created.expires_at, created.retry_of) == (1, None, None)
    assert bench.catalogue.choose.call_args.args == ("training_pipeline", "production")
    bench.task_definitions.revision.assert_called_once_with(IMAGE, "ARM64", {})


def test_nothing_is_refused_for_what_is_only_remembered() -> None:
    """A request that fits what was published a moment ago is not held against the snapshot before."""
    bench = Bench()
    properties = {**TRAINING.parameters_schema["properties"], "depth": {"type": "integer"}}  # type: ignore[dict-item]
    newer = snapshot(content(parameters_schema={"type": "object", "properties": properties}), number=2)
    bench.catalogue.find.side_effect = lambda _pipeline, _choice: newer

    assert bench.submit(parameters={"depth": 3}).run.snapshot == "training_pipeline:2"
    assert bench.submit().run.snapshot == "training_pipeline:1"
    assert bench.catalogue.find.call_count == 1


def test_what_is_unsaid_does_not_count() -> None:
    """A field that requests get later must not make another request of one that was sent before."""
    assert asking().request_hash == asking(parameters={}, snapshot=None, resources=None, tags=[]).request_hash
    assert asking().request_hash == "78540c7ae497d2a10317556c228d6b0d56bb893bdad8a05b4df32bc7946177f1"


SMALL, LARGE = {"cpu": 256, "memory": 512}, {"cpu": 1024, "memory": 4096}
STORED = "6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07"
CONFIGURED = content(
    source=None,
    zenml_snapshot=STORED,
    architecture="X86_64",
    stack="aws",
    secrets={"TOKEN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token"},
    resources=LARGE,
    timeout_seconds=60,
    configuration={
        "parameters": {"test_size": 0.4},
        "steps": {"train_model": {"settings": {"a": 1}}},
        "enable_cache": False,
        "tags": ["own"],
        "options": {"settings": {"b": 2}},
    },
)


def test_the_record_holds_all_that_is_executed() -> None:
    """Whatever becomes of the snapshot; what the run says goes before the configuration, and that before the code."""
    bench = Bench(snapshot(CONFIGURED))

    created = bench.submit(
        parameters={"model_type": "gradient_boosting"},
        steps={"load_data": {"parameters": {"data_url": "x"}}, "train_model": {"parameters": {"trees": 3}}},
        tags=["nightly"],
    ).run

    assert bench.executed == RunInput(
        zenml_snapshot=STORED,
        parameters={"data_url": "x", "model_type": "gradient_boosting", "test_size": 0.4},
        steps={"train_model": {"trees": 3}},
        enable_cache=None,
        tags=("nightly",),
        configured_steps={"train_model": {"settings": {"a": 1}}},
        options={"settings": {"b": 2}, "tags": ["own"], "enable_cache": False},
        stack="aws",
        image=IMAGE,
        architecture="X86_64",
        secrets=CONFIGURED.secrets,
        timeout_seconds=60,
    )
    assert created.resources == Resources.model_validate(LARGE)
    assert created.tags == ("nightly",)
    bench.task_definitions.revision.assert_called_once_with(IMAGE, "X86_64", CONFIGURED.secrets)


def test_a_run_may_have_its_own_size_and_time_and_caching() -> None:
    """And says nothing of caching where nobody does: then ZenML decides."""
    bench = Bench(snapshot(CONFIGURED))
    created = bench.submit(resources=SMALL, timeout_seconds=5, enable_cache=True).run
    assert created.resources == Resources.model_validate(SMALL)
    assert (bench.executed.timeout_seconds, bench.executed.enable_cache) == (5, True)

    bench = Bench()
    assert bench.submit().run.resources is None
    assert (bench.executed.timeout_seconds, bench.executed.enable_cache) == (None, None)
    assert bench.executed.source == TRAINING.source


@pytest.mark.parametrize(
    "values",
    [
        {"snapshot": True},
        {"snapshot": 0},
        {"snapshot": 1.0},
        {"snapshot": ""},
        {"timeout_seconds": 0},
        {"timeout_seconds": True},
        {"timeout_seconds": "60"},
        {"timeout_seconds": 10**9},
        {"resources": {"cpu": 256, "memory": 4096}},
        {"resources": {"cpu": "256", "memory": 512}},
    ],
)
def test_what_cannot_be_asked(values: dict[str, Any]) -> None:
    """Is pointed at where it stands."""
    with pytest.raises(ValidationError) as caught:
        asking(**values)

    assert {wrong["loc"][0] for wrong in caught.value.errors()} == set(values)
    assert len(caught.value.errors()) == 1


def test_the_snapshots_own_path_asks_for_the_same() -> None:
    """So that the same idempotency key gives the same run; an id that nothing can have is not there."""
    asked = SnapshotRunRequest.model_validate({"tags": ["a"], "timeout_seconds": 7, "enable_cache": False})

    request = asked.to_run_request("training_pipeline:1")

    assert request == asking(snapshot=1, tags=["a"], timeout_seconds=7, enable_cache=False)
    assert request.request_hash == asking(snapshot=1, tags=["a"], timeout_seconds=7, enable_cache=False).request_hash
    assert len({asking(snapshot=same).request_hash for same in (1, "1", f"{TRAINING.pipeline}:1")}) == 1
    others = (None, 2, "tag:1", "one", "other:1")
    assert len({asking(snapshot=other).request_hash for other in (1, *others)}) == 6
    for nothing in ("training_pipeline", "training_pipeline:0", ":1", "p:" + "9" * 5000, "x" * 300 + ":1", "a/b:1"):
        with pytest.raises(NotFoundError):
            asked.to_run_request(nothing)


@pytest.mark.parametrize("answer", [Unknown("?"), Refused(transient=False, reason="r", message="m")])
def test_what_ecs_answers_does_not_undo_the_record(answer: object) -> None:
    """A recorded run is answered as one."""
    bench = Bench()
    bench.launcher.run_task.return_value = answer

    assert bench.submit().run.status == RunStatus.STARTING


def test_a_launch_whose_answer_cannot_be_kept_does_not_undo_the_record() -> None:
    """The caller is told of its run; the sweep settles the launch."""
    bench = Bench()
    bench.runs.record_task.side_effect = ConnectionError("no table")

    assert bench.submit().run.status == RunStatus.STARTING


@pytest.mark.parametrize(
    ("request_values", "error"),
    [
        ({"pipeline": "nobody"}, NotFoundError),
        ({"snapshot": "deleted"}, NotFoundError),
        ({"parameters": {"x": 1}}, InvalidRequestError),
        ({"parameters": {"data_url": "ü" * 140_000}}, TooLargeError),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_written(request_values: dict[str, Any], error: type[Exception]) -> None:
    """Before anything is recorded; but the replay of a recorded run wins, whatever has changed since."""
    bench = Bench()
    with pytest.raises(error):
        bench.submit("id", **request_values)
    bench.runs.create.assert_not_called()
    bench.launcher.run_task.assert_not_called()

    recorded = run(request_hash=asking(**request_values).request_hash)
    bench.recorded(recorded)
    assert bench.submit("id", **request_values) == Creation(recorded, replayed=True)


@pytest.mark.parametrize(
    ("error", "pointers"),
    [
        (UnavailableError("ECS does not answer"), None),
        (InvalidRequestError([Problem("/secrets/A", "taken"), Problem("", "refused")]), ["/snapshot", "/snapshot"]),
    ],
)
def test_without_a_task_definition_nothing_is_written(error: ZentriggerError, pointers: list[str] | None) -> None:
    """A run is whole or not there; and a replay needs none."""
    bench = Bench()
    bench.task_definitions.revision.side_effect = error

    with pytest.raises(type(error)) as caught:
        bench.submit("id")

    if isinstance(caught.value, InvalidRequestError):
        assert [problem.pointer for problem in caught.value.problems] == pointers
    bench.runs.create.assert_not_called()
    recorded = run(request_hash=asking().request_hash)
    bench.recorded(recorded)
    assert bench.submit("id") == Creation(recorded, replayed=True)


def test_parameters_and_configuration_together_fit_into_a_record() -> None:
    """An item of DynamoDB holds 400 KB; each alone would."""
    bench = Bench(snapshot(content(configuration={"options": {"settings": "x" * 200_000}})))

    with pytest.raises(TooLargeError, match="configuration"):
        bench.submit(parameters={"data_url": "y" * 200_000})


def test_a_replay_wins_over_a_full_queue_and_a_clash_over_a_replay() -> None:
    """Same key, same body: the same run. Same key, other body: an error that names the first run."""
    bench = Bench()
    bench.runs.create.side_effect = QueueFullError("full", 30)
    with pytest.raises(QueueFullError):
        bench.submit("id")
    recorded = run(request_hash=asking().request_hash)
    bench.recorded(recorded)
    assert bench.submit("id").replayed
    with pytest.raises(IdempotencyClashError, match=recorded.run_id):
        bench.submit("id", tags=["other"])


def test_ids_of_keys() -> None:
    """Two callers' same key are two runs; no joining of parts confuses them."""
    assert run_id_for_key("a", "b") == run_id_for_key("a", "b")
    assert (
        len({run_id_for_key("a", "b"), run_id_for_key("ab", ""), run_id_for_key("", "ab"), run_id_for_key("b", "a")})
        == 4
    )


def test_the_order_of_keys_is_no_difference() -> None:
    """Request hashes are of the meaning, not of the text."""
    first = RunRequest.model_validate({"pipeline": "p", "parameters": {"a": 1, "b": {"c": 1, "d": 2}}})
    second = RunRequest.model_validate({"parameters": {"b": {"d": 2, "c": 1}, "a": 1}, "pipeline": "p"})
    assert first.request_hash == second.request_hash


def _tutorial(**values: Any) -> TutorialRequest:
    return TutorialRequest.model_validate({"pipeline_name": "training_pipeline"} | values)


def test_the_tutorials_steps_reach_the_pipeline() -> None:
    """What the pipeline hands on to its steps becomes its parameter; the rest stays the step's."""
    bench = Bench()

    bench.submit(
        body=_tutorial(
            steps={
                "load_data": {"parameters": {"data_url": "s3://b/k"}},
                "train_model": {"parameters": {"model_type": "gradient_boosting", "trees": 3}},
            }
        )
    )

    assert bench.executed.parameters == {"data_url": "s3://b/k", "model_type": "gradient_boosting", "test_size": 0.2}
    assert bench.executed.steps == {"train_model": {"trees": 3}}


def test_the_tutorials_contradictions_and_paths_are_refused() -> None:
    """With the reason, all at once."""
    with pytest.raises(InvalidRequestError) as caught:
        Bench().submit(
            body=_tutorial(
                config_path="/etc/passwd",
                parameters={"data_url": "a"},
                steps={"load_data": {"parameters": {"data_url": "b"}}, "nobody": {}},
            )
        )
    assert {problem.pointer for problem in caught.value.problems} == {
        "/config_path",
        "/parameters/data_url",
        "/steps/load_data/parameters/data_url",
        "/steps/nobody",
    }


def test_a_replay_of_the_tutorials_body_outlives_a_publication() -> None:
    """Its hash is of the body as it was sent, whatever the pipeline makes of it meanwhile."""
    body = _tutorial(steps={"load_data": {"parameters": {"data_url": "x"}}})
    bench = Bench(snapshot(content(steps={}, parameters_schema={})))
    recorded = run(request_hash=body.request_hash)
    bench.recorded(recorded)

    assert bench.submit("id", body=body) == Creation(recorded, replayed=True)


ENDED = run(
    run_id="old",
    status="failed",
    ended_at=MOMENT,
    trigger="arrivals",
    tags=("t",),
    resources=SMALL,
    snapshot="training_pipeline:7",
    task_definition="arn:older",
)


def test_a_run_is_repeated_from_its_record() -> None:
    """Whatever the catalogue has by now; on the stack as it is now; and nobody takes it for a trigger's."""
    bench = Bench()
    bench.recorded(
        ENDED, parameters={"test_size": 0.9}, image=IMAGE, architecture="ARM64", secrets={"A": "arn:a"}, tags=("t",)
    )

    created = bench.submitter.retry("old", SOURCE).run

    assert bench.executed == bench.runs.get("old").input
    assert (created.retry_of, created.snapshot, created.tags) == ("old", "training_pipeline:7", ("t",))
    assert (created.resources, created.task_definition, created.trigger) == (ENDED.resources, "arn:revision", None)
    assert (created.source, created.status, created.ended_at) == (SOURCE, RunStatus.STARTING, None)
    assert created.run_id != "old"
    bench.catalogue.choose.assert_not_called()
    bench.task_definitions.revision.assert_called_once_with(IMAGE, "ARM64", {"A": "arn:a"})


@pytest.mark.parametrize("status", ["queued", "starting", "running"])
def test_only_what_has_ended_is_repeated(status: str) -> None:
    """And only what is there."""
    bench = Bench()
    bench.recorded(run(run_id="old", status=status))

    with pytest.raises(ConflictError, match=status):
        bench.submitter.retry("old", SOURCE)
    with pytest.raises(NotFoundError):
        bench.submitter.retry("nobody", SOURCE)
    bench.runs.create.assert_not_called()


def test_the_key_that_started_a_run_is_not_free_for_its_repetition() -> None:
    """The new run would be the old one."""
    bench = Bench()
    bench.recorded(ENDED)

    with pytest.raises(IdempotencyClashError):
        bench.submitter.retry("id", SOURCE, new_run_id="id")
    bench.runs.create.assert_not_called()


def test_a_key_makes_one_retry_of_one_run() -> None:
    """The same again is that retry, also when nothing can be written; another use of the key is a clash."""
    bench = Bench()
    bench.recorded(ENDED)
    first = bench.submitter.retry("old", SOURCE, new_run_id="new").run
    stored = {"old": RunRecord(run=ENDED, input=run_input()), "new": RunRecord(run=first, input=run_input())}
    bench.runs.get.side_effect = stored.get

    for error in (QueueFullError("full", 30), NotFoundError("expired"), BusyError("contended")):
        bench.runs.create.side_effect = error
        assert bench.submitter.retry("old", SOURCE, new_run_id="new") == Creation(first, replayed=True)
    bench.task_definitions.revision.side_effect = UnavailableError("ECS")
    assert bench.submitter.retry("old", SOURCE, new_run_id="new").replayed
    with pytest.raises(IdempotencyClashError):
        bench.submitter.retry("another", SOURCE, new_run_id="new")
    with pytest.raises(IdempotencyClashError):
        bench.submit("new", tags=["x"], snapshot="deleted")
