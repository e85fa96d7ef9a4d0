"""Recording and launching, with doubles at the edges."""

from typing import Any
from unittest.mock import Mock

import pytest

from tests.factories import MOMENT, TASK, TRAINING, pipeline, run
from zentrigger.errors import IdempotencyClashError, InvalidRequestError, NotFoundError, QueueFullError, TooLargeError
from zentrigger.launches import Network, Refused, Started, Unknown
from zentrigger.run_requests import RunRequest, TutorialRequest
from zentrigger.run_store import Creation
from zentrigger.runs import RunRecord, RunStatus, Source
from zentrigger.submit import Limits, Submitter, run_id_for_key

SOURCE = Source(type="http", key_id="k")


class Bench:
    """A submitter between doubles; a first run starts."""

    def __init__(self) -> None:
        self.runs, self.launcher, self.catalogue = Mock(), Mock(), Mock()
        self.catalogue.pipeline.side_effect = lambda name: pipeline() if name == TRAINING.pipeline else None
        self.runs.create.side_effect = lambda of, _input, **_limits: Creation(
            of.model_copy(update={"status": RunStatus.STARTING}), replayed=False
        )
        self.runs.get.return_value = None
        self.launcher.run_task.return_value = Started(TASK)

    def submit(self, run_id: str | None = None, **request: Any) -> Creation:
        """Submit a request for the training pipeline."""
        submitter = Submitter(
            runs=self.runs,
            catalogue=self.catalogue,
            launcher=self.launcher,
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            task_definition="t:1",
            limits=Limits(max_active=1, max_waiting=1, retention_days=1),
            clock=lambda: MOMENT,
        )
        wanted = request.pop("body", None) or RunRequest.model_validate({"pipeline": "training_pipeline"} | request)
        return submitter.submit(wanted, SOURCE, run_id=run_id)


def test_a_run_is_recorded_then_launched() -> None:
    """With the snapshot that it runs, and an end to its record."""
    bench = Bench()

    created = bench.submit(parameters={"test_size": 0.5}).run

    assert created.task_arn == TASK
    assert created.snapshot == "training_pipeline:1"
    assert (created.retention_days, created.expires_at) == (1, None)
    assert bench.runs.create.call_args.args[1].parameters == {"test_size": 0.5}


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

    wanted = RunRequest.model_validate({"pipeline": "training_pipeline"} | request_values)
    recorded = run(request_hash=wanted.request_hash)
    bench.runs.get.return_value = Mock(spec=RunRecord, run=recorded)
    assert bench.submit("id", **request_values) == Creation(recorded, replayed=True)


def test_a_replay_wins_over_a_full_queue_and_a_clash_over_a_replay() -> None:
    """Same key, same body: the same run. Same key, other body: an error that names the first run."""
    bench = Bench()
    bench.runs.create.side_effect = QueueFullError("full", 30)
    with pytest.raises(QueueFullError):
        bench.submit("id")
    recorded = run(request_hash=RunRequest(pipeline="training_pipeline").request_hash)
    bench.runs.get.return_value = Mock(spec=RunRecord, run=recorded)
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


def _tutorial(**values: Any) -> RunRequest:
    return TutorialRequest.model_validate({"pipeline_name": "training_pipeline"} | values).to_run_request(TRAINING)


def test_the_tutorials_steps_reach_the_pipeline() -> None:
    """What the pipeline passes to its steps itself becomes its parameter; the rest stays the step's."""
    request = _tutorial(
        steps={
            "load_data": {"parameters": {"data_url": "s3://b/k"}},
            "train_model": {"parameters": {"model_type": "gradient_boosting", "trees": 3}},
        }
    )

    assert request.parameters == {"data_url": "s3://b/k", "model_type": "gradient_boosting"}
    assert request.step_parameters == {"train_model": {"trees": 3}}


def test_the_tutorials_contradictions_and_paths_are_refused() -> None:
    """With the reason, all at once."""
    with pytest.raises(InvalidRequestError) as caught:
        _tutorial(
            config_path="/etc/passwd",
            parameters={"data_url": "a"},
            steps={"load_data": {"parameters": {"data_url": "b"}}},
        )
    assert {problem.pointer for problem in caught.value.problems} == {
        "/config_path",
        "/steps/load_data/parameters/data_url",
    }


def test_a_replay_of_the_tutorials_body_outlives_a_publication() -> None:
    """Its hash is of the body as it was sent, whatever the pipeline makes of it meanwhile."""
    body = TutorialRequest.model_validate(
        {"pipeline_name": "training_pipeline", "steps": {"load_data": {"parameters": {"data_url": "x"}}}}
    )
    changed = TRAINING.model_copy(update={"steps": {}})

    assert body.to_run_request(TRAINING) != body.to_run_request(changed)
    bench = Bench()
    recorded = run(request_hash=body.request_hash)
    bench.runs.create.side_effect = lambda *_arguments, **_limits: Creation(recorded, replayed=True)
    assert bench.submit("id", body=body).replayed


def test_the_tutorials_unknown_step_is_still_unknown() -> None:
    """The submission says so, also of a step without parameters."""
    assert set(_tutorial(steps={"nobody": {}}).steps) == {"nobody"}
