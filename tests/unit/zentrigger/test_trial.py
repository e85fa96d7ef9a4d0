"""Trying a trigger: whether an event matches, why not, and what would happen now. Nothing is started."""

import json
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import MOMENT, TRAINING, run, run_input, snapshot, trigger
from zentrigger.arrivals import Arrivals, Wanted, consider
from zentrigger.arrivals import Occurrence as Asked
from zentrigger.capacity import Capacity as Counts
from zentrigger.capacity import Limits, PipelineCapacity, Standing
from zentrigger.errors import BusyError, InvalidRequestError, NotFoundError
from zentrigger.events import parse_event
from zentrigger.launches import Network
from zentrigger.matching import document_of, mismatch
from zentrigger.run_store import Along, AlongRefusedError, Creation
from zentrigger.runs import RunRecord, Source
from zentrigger.submit import Submitter
from zentrigger.timestamps import to_text
from zentrigger.trial import Trial, TriggerTrials, sample_event
from zentrigger.triggers import Trigger

HOOK: dict[str, Any] = {"type": "webhook", "signature": {"scheme": "github"}}
AFTER: dict[str, Any] = {"type": "run", "of": {"pipeline": "training_pipeline"}}


def s3_event(key: str = "k", bucket: str = "data", **values: Any) -> dict[str, Any]:
    """Make an arrival as EventBridge delivers it."""
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "id": "e",
        "time": "2026-11-20T12:00:00Z",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key, "size": 7, "sequencer": "1"} | values},
    }


def run_event(run_id: str = "r1") -> dict[str, Any]:
    """Make the end of a run."""
    told = {"source": "zentrigger", "detail-type": "Pipeline Run Failed", "id": "x", "time": "2026-11-20T12:00:00Z"}
    return told | {"detail": {"run_id": run_id}}


def call_before(created_at: datetime) -> dict[str, Any]:
    """Make the event of a call for the trigger `t` that was made at a moment."""
    detail = {"trigger": "t", "receipt_id": "r", "trigger_created_at": to_text(created_at), "body": {}}
    return {"source": "zentrigger.webhook", "id": "e", "time": "2026-11-20T12:00:00Z", "detail": detail}


class Bench:
    """Trials of one trigger: the submitter and all that it decides is real, what it reads is said here."""

    def __init__(self, of: Trigger, *, active: int = 0, waiting: int = 0, live: int = 0, **upstream: Any) -> None:
        self.trigger, self.runs, self.store = of, Mock(), Mock()
        self.recorded: dict[str, RunRecord] = {}
        self.runs.get.side_effect = self.recorded.get
        self.runs.standing.return_value = Standing(
            Counts(active, waiting), PipelineCapacity(active, waiting, None), PipelineCapacity(live, 0, None)
        )
        self.store.get.side_effect = self._get
        self.store.stored.return_value = (of,)
        self.store.counts_of.return_value, self.store.started_in_hour.return_value = {}, 0
        catalogue, revisions = Mock(), Mock()
        catalogue.find.side_effect = catalogue.choose.side_effect = self._choose
        revisions.family, revisions.known_revision.return_value = "snapshots", "arn:revision"
        revisions.revision.return_value = "arn:revision"
        self.catalogue = catalogue
        self.submitter = Submitter(
            runs=self.runs,
            catalogue=catalogue,
            task_definitions=revisions,
            launcher=Mock(),
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            limits=Limits(max_active=1, max_waiting=1, retention_days=1),
            clock=lambda: MOMENT,
        )
        if upstream:
            ended = run(run_id="r1", **upstream)
            self.recorded["r1"] = RunRecord(run=ended, input=run_input())
        self.trials = TriggerTrials(
            triggers=self.store, submitter=self.submitter, record_of=self.recorded.get, clock=lambda: MOMENT
        )

    def _get(self, name: str) -> Trigger:
        if name != self.trigger.name:
            raise NotFoundError("no such trigger")
        return self.trigger

    def _choose(self, pipeline: str, choice: object) -> Any:
        if pipeline != TRAINING.pipeline or choice not in (None, 1):
            raise NotFoundError(f"no snapshot of {pipeline}")
        return snapshot()

    def try_out(self, event: dict[str, Any] | None = None) -> Trial:
        """Try the trigger, and see that nothing is written."""
        (trial,) = self.trials.run(self.trigger.name, event)
        for calls in (self.runs.method_calls, self.store.method_calls):
            asked = {call[0] for call in calls}
            assert asked <= {"get", "standing", "counts_of", "started_in_hour", "recent_events"}
        return trial


@pytest.mark.parametrize(
    ("values", "event", "matches", "outcome", "detail"),
    [
        ({}, s3_event(), True, "started", None),
        ({"prefix": "in/"}, s3_event(), False, "not_matched", "'in/'"),
        ({}, s3_event("k/"), False, "not_matched", "folder"),
        ({"bucket": "other"}, s3_event(), False, "not_matched", "'other'"),
        ({"enabled": False}, s3_event(), False, "disabled", "disabled"),
        ({"end_at": MOMENT}, s3_event(), False, "disabled", "outside"),
        ({"parameters": {"data_url": "{object.key}{object.version-id}"}}, s3_event(), True, "rejected", "null"),
        ({"parameters": {"test_size": "{object.size}"}}, s3_event(), True, "rejected", "/parameters/test_size"),
        ({"pipeline": "nobody"}, s3_event(), True, "rejected", "no snapshot of nobody"),
        ({"snapshot": "nobody:1"}, s3_event(), True, "rejected", "no snapshot"),
        ({"type": "schedule"}, s3_event(), False, "not_matched", "type schedule"),
        ({**HOOK, "filter": {"body.a": [1]}}, None, True, "started", None),
        (HOOK, run_event(), False, "not_matched", "type webhook"),
        (HOOK, call_before(MOMENT - timedelta(seconds=1)), False, "not_matched", "another trigger of this name"),
        (HOOK, call_before(MOMENT), True, "started", None),
        ({"type": "schedule"}, None, True, "started", None),
        ({"type": "run", "of": {"tag": "x"}}, run_event(), False, "not_matched", "`of`"),
        ({**AFTER, "on": ["failed"]}, run_event(), False, "not_matched", "succeeded"),
        (AFTER, run_event(), True, "started", None),
        ({**AFTER, "parameters": {"data_url": "{run.outputs.a.b}"}}, run_event(), True, "rejected", "run.outputs"),
    ],
)
def test_whether_an_event_matches_and_why_not(
    values: dict[str, Any], event: dict[str, Any] | None, matches: bool, outcome: str, detail: str | None
) -> None:
    """For each type; a run's end is known by its record, not by what the event says."""
    bench = Bench(trigger("t", **values), status="succeeded")

    trial = bench.try_out(event)

    assert (trial.matches, trial.outcome) == (matches, outcome)
    assert trial.detail is None if detail is None else trial.detail is not None and detail in trial.detail
    assert (trial.would is not None) is (outcome == "started")
    assert event is None or trial.event == event


def test_the_request_that_would_be_made() -> None:
    """With the event filled in, under the id that the run would have; also where it is refused."""
    url = "s3://{bucket.name}/{object.key}"
    bench = Bench(trigger("t", parameters={"data_url": url}, tags=["a"], overlap="queue"))

    trial = bench.try_out(s3_event("in/a b.csv"))

    asked = consider(bench.trigger, Asked(parse_event(s3_event("in/a b.csv"))))
    assert isinstance(asked, Wanted)
    assert (trial.request, trial.run_id) == (asked.request, asked.run_id)
    assert trial.request is not None
    assert trial.request.parameters == {"data_url": "s3://data/in/a b.csv"}
    refused = Bench(trigger("t", pipeline="nobody")).try_out(s3_event())
    assert refused.request is not None


@pytest.mark.parametrize(
    ("standing", "would"),
    [
        ({}, "start"),
        ({"active": 1}, "queue"),
        ({"active": 1, "waiting": 1}, "queue"),
        ({"active": 1, "waiting": 999}, "queue"),
        ({"waiting": 1}, "queue"),
    ],
)
def test_an_event_is_never_refused_for_a_full_queue(standing: dict[str, int], would: str) -> None:
    """Its run waits, however many do."""
    trial = Bench(trigger("t"), **standing).try_out(s3_event())

    assert (trial.outcome, trial.would) == ("started", would)


@pytest.mark.parametrize(
    ("values", "counts", "hour", "live", "outcome"),
    [
        ({}, {"started": 10**6}, 999, 0, "started"),
        ({"max_runs": 3}, {"started": 2}, 0, 0, "started"),
        ({"max_runs": 3}, {"started": 3}, 0, 0, "skipped_max_runs"),
        ({"max_runs": 3}, {"started": 4}, 0, 0, "skipped_max_runs"),
        ({"max_runs": 3}, {"duplicate": 9}, 0, 0, "started"),
        ({"max_runs_per_hour": 2}, {}, 2, 0, "skipped_cap"),
        ({}, {}, 1000, 0, "skipped_cap"),
        ({"max_runs": 1, "max_runs_per_hour": 1}, {"started": 1}, 1, 0, "skipped_max_runs"),
        ({"overlap": "skip"}, {}, 0, 1, "skipped_overlap"),
        ({"overlap": "skip"}, {}, 0, 0, "started"),
        ({"overlap": "allow"}, {}, 0, 1, "started"),
        ({"overlap": "skip", "max_runs": 1}, {"started": 1}, 0, 1, "skipped_max_runs"),
        ({"overlap": "skip", "max_runs_per_hour": 1}, {}, 1, 1, "skipped_cap"),
    ],
)
def test_what_the_limits_would_say(
    values: dict[str, Any], counts: dict[str, int], hour: int, live: int, outcome: str
) -> None:
    """As an arrival decides it: first all runs, then the hour's, then whether one is active."""
    bench = Bench(trigger("t", **values), live=live, active=live)
    bench.store.counts_of.return_value, bench.store.started_in_hour.return_value = counts, hour

    trial = bench.try_out(s3_event())

    assert (trial.matches, trial.outcome) == (True, outcome)
    assert (trial.would is None) is (outcome != "started")
    assert bench.store.started_in_hour.call_args is None or bench.store.started_in_hour.call_args.args == ("t", MOMENT)


@pytest.mark.parametrize("edited", [{}, {"tags": ["x"]}])
def test_an_event_that_has_started_its_run_is_a_duplicate(edited: dict[str, Any]) -> None:
    """Also after the trigger was edited, and though it is at its limits: as an arrival would say."""
    before = trigger("t")
    asked = consider(before, Asked(parse_event(s3_event())))
    assert isinstance(asked, Wanted)
    bench = Bench(trigger("t", max_runs=1, **edited))
    bench.store.counts_of.return_value = {"started": 1}
    of = run(run_id=asked.run_id, request_hash=asked.request.request_hash)
    bench.recorded[asked.run_id] = RunRecord(run=of, input=run_input())

    trial = bench.try_out(s3_event())

    assert (trial.outcome, trial.run_id, trial.would) == ("duplicate", of.run_id, None)
    bench.runs.create.return_value = Creation(of, replayed=True)
    bench.store.booking.return_value = lambda _: ()
    arrivals = Arrivals(triggers=bench.store, submitter=bench.submitter, record_of=bench.recorded.get)
    assert [receipt.outcome for receipt in arrivals.handle(parse_event(s3_event()))] == ["duplicate"]


@pytest.mark.parametrize(("positions", "counts", "hour"), [((0,), 1, 0), ((1,), 0, 1), ((0, 1), 1, 1)])
def test_a_trial_says_what_an_arrival_says(positions: tuple[int, ...], counts: int, hour: int) -> None:
    """Of the same limits."""
    bench = Bench(trigger("t", max_runs=1, max_runs_per_hour=1))
    bench.store.counts_of.return_value, bench.store.started_in_hour.return_value = {"started": counts}, hour

    def refuse(*_: Any, along: Along, **__: Any) -> Creation:
        assert along is not None
        raise AlongRefusedError(positions)

    trial = bench.try_out(s3_event())
    bench.runs.create.side_effect = refuse
    arrivals = Arrivals(triggers=bench.store, submitter=bench.submitter, record_of=bench.recorded.get)

    assert [receipt.outcome for receipt in arrivals.handle(parse_event(s3_event()))] == [trial.outcome]


def test_a_circle_is_foretold() -> None:
    """It matches, and would be stopped."""
    source = Source(type="run", trigger="t", run_id="r0", chain=("t",))
    trial = Bench(trigger("t", **AFTER), status="succeeded", source=source).try_out(run_event())

    assert (trial.matches, trial.outcome) == (True, "skipped_cycle")
    assert "t -> t" in str(trial.detail)


@pytest.mark.parametrize("status", ["queued", "starting", "running"])
def test_a_run_that_has_not_ended_would_start_nothing(status: str) -> None:
    """Though its end may."""
    trial = Bench(trigger("t", **AFTER, on=["succeeded", "failed", "cancelled"]), status=status).try_out(run_event())

    assert (trial.matches, trial.outcome) == (False, "not_matched")
    assert status in str(trial.detail)


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({}, "/event"),
        ({"source": "aws.ec2", "detail-type": "x", "detail": {}}, "/event"),
        ({"source": "aws.s3", "detail-type": "Object Created", "detail": []}, "/event"),
        (s3_event() | {"time": "yesterday"}, "/event"),
        (s3_event(""), "/event"),
        (s3_event(size="large"), "/event"),
        (run_event("nobody"), "/event/detail/run_id"),
        (run_event(""), "/event"),
    ],
)
def test_an_event_that_could_not_come_is_refused(event: dict[str, Any], pointer: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(InvalidRequestError) as caught:
        Bench(trigger("t")).try_out(event)

    assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_a_run_has_to_be_named() -> None:
    """There is no sample of a run that ended; the text shows what to send."""
    with pytest.raises(InvalidRequestError, match=r"detail.*run_id"):
        Bench(trigger("t", **AFTER)).try_out()
    with pytest.raises(NotFoundError):
        Bench(trigger("t")).trials.run("u", None)
    with pytest.raises(NotFoundError):
        Bench(trigger("t")).trials.recent("u")


def test_a_store_that_is_busy_says_nothing_of_the_event() -> None:
    """It is told to try again, rather than that the event would be rejected."""
    bench = Bench(trigger("t"))
    bench.catalogue.find.side_effect = BusyError("throttled")

    with pytest.raises(BusyError):
        bench.trials.run("t", s3_event())


def test_the_last_events_are_tried_with_the_trigger_as_it_is_now() -> None:
    """Newest first; one whose run has expired, or that no trigger takes any more, does not keep the others from it."""
    bench = Bench(trigger("t", prefix="in/"), status="succeeded")
    events = [s3_event("in/a"), run_event("expired"), s3_event("out/a"), {"source": "older", "detail": {}}]
    bench.store.recent_events.return_value = tuple(json.dumps(event) for event in events)

    trials = bench.trials.recent("t")

    assert [trial.event for trial in trials] == events
    assert [trial.outcome for trial in trials] == ["started", "not_matched", "not_matched", "not_matched"]
    assert "expired" in str(trials[1].detail)
    assert bench.store.recent_events.call_args.args == ("t", 10)


# ------------------------------------------------------------ samples

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10)
sizes = st.none() | st.integers(0, 10**12)


@st.composite
def s3_triggers(draw: st.DrawFn) -> Trigger:
    """Make any s3 trigger without a glob."""
    least, most = draw(sizes), draw(sizes)
    if least is not None and most is not None and most < least:
        least, most = most, least
    reasons = st.sampled_from(["PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"])
    return trigger(
        "t",
        bucket=draw(st.none() | st.just("data")),
        prefix=draw(texts | st.just("in/")),
        suffix=draw(texts.filter(lambda text: not text.endswith("/"))),
        min_size=least,
        max_size=most,
        reasons=draw(st.lists(reasons, max_size=3)),
    )


names = st.from_regex(r"[a-z_][a-z0-9_-]{0,5}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def webhook_triggers(draw: st.DrawFn) -> Trigger:
    """Make a webhook trigger with any filter of which no path lies within another."""
    wanted: dict[str, Any] = {}
    paths = st.lists(names | st.just("0"), min_size=1, max_size=3).map(lambda parts: ".".join(["body", *parts]))
    for path in draw(st.lists(paths, max_size=5)):
        if not any(f"{one}.".startswith(f"{path}.") or f"{path}.".startswith(f"{one}.") for one in wanted):
            wanted[path] = draw(st.lists(values, min_size=1, max_size=2))
    for name in draw(st.lists(names, max_size=3)):
        wanted[f"header.{name}"] = draw(st.lists(texts, min_size=1, max_size=2))
    return trigger("t", **HOOK, filter=wanted)


@given(s3_triggers() | webhook_triggers() | st.just(trigger("t", type="schedule")))
def test_a_sample_passes_the_filter_that_it_was_made_for(of: Trigger) -> None:
    """Whatever the trigger waits for; it is an event that could come."""
    event = parse_event(json.loads(json.dumps(sample_event(of, MOMENT))))

    assert mismatch(of, event, document_of("t", event)) is None


def test_a_sample_within_a_sample() -> None:
    """Of paths that lie within each other the inner is set in the outer, and the trigger stays as it is."""
    of = trigger("t", **HOOK, filter={"body.a.b": [2], "body.a": [{"b": 2, "c": 3}, 7], "body.list": [[1]]})
    before = of.model_dump_json()

    sample = sample_event(of, MOMENT)

    assert sample["detail"]["body"] == {"a": {"b": 2, "c": 3}, "list": [1]}
    sample["detail"]["body"]["a"]["b"] = 4
    assert of.model_dump_json() == before


def test_a_sample_comes_now() -> None:
    """So that a trigger that is over, or has not begun, says so."""
    for values in ({"start_at": MOMENT + timedelta(hours=1)}, {"end_at": MOMENT}):
        assert Bench(trigger("t", **values)).try_out().outcome == "disabled"
    assert Bench(trigger("t", start_at=MOMENT)).try_out().outcome == "started"
