"""The command line: what it understands, what it prints, its exit status."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.conftest import ENVIRONMENT, FakeClient, cells
from zentrigger_client import cli
from zentrigger_client.api import Unreachable, ZentriggerError
from zentrigger_client.assignments import assignment, secret_references
from zentrigger_client.console import UsageError


def run(**fields: Any) -> dict[str, Any]:
    """Give a run as the API shows it."""
    return {"run_id": "r1", "pipeline": "training", "status": "queued", **fields}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=3", ("n", 3)),
        ("n=3.5", ("n", 3.5)),
        ("on=true", ("on", True)),
        ("none=null", ("none", None)),
        ('list=["a", 1]', ("list", ["a", 1])),
        ("url=s3://bucket/a=b.csv", ("url", "s3://bucket/a=b.csv")),
        ('quoted="3"', ("quoted", "3")),
        ("text:=3", ("text", "3")),
        ("empty=", ("empty", "")),
        ("nan=NaN", ("nan", "NaN")),
        ("word=Infinity", ("word", "Infinity")),
        ("ünïcode=größe", ("ünïcode", "größe")),
    ],
)
def test_reads_a_value_as_json_if_it_is_json(text: str, expected: tuple[str, Any]) -> None:
    """Numbers, booleans and lists need no quotes; everything else is text, NaN too."""
    assert assignment(text, "parameter") == expected


@pytest.mark.parametrize("text", ["n", "=3", ":=3", ""])
def test_refuses_what_is_no_assignment(text: str) -> None:
    """Without a name or an equals sign nothing is guessed."""
    with pytest.raises(UsageError, match="NAME=VALUE"):
        assignment(text, "parameter")


@pytest.mark.parametrize("text", ["TOKEN=hunter2", "hunter2", "=arn:x", "a-b=arn:x"])
def test_a_secret_that_is_no_arn_is_refused_and_not_repeated(text: str) -> None:
    """Who gives the secret itself finds it neither on the terminal nor in the API."""
    with pytest.raises(UsageError, match="not its value") as raised:
        secret_references([text])
    assert "hunter2" not in str(raised.value)
    with pytest.raises(UsageError, match="TOKEN is given twice"):
        secret_references(["TOKEN=arn:a", "TOKEN=arn:b"])


def test_run_sends_what_was_asked_for(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option of `run` reaches the API."""
    client.answers["start"] = run()
    arguments = ["run", "training", "-p", "n=3", "--step", "train.depth=4", "--tag", "a", "--no-cache"]
    arguments += ["--snapshot", "tag:nightly", "--cpu", "512", "--memory", "1024", "--timeout-seconds", "60"]
    arguments += ["--priority", "-3", "--concurrency-key", "customer-7", "--concurrency-limit", "2"]
    arguments += ["--on-conflict", "skip", "--retries", "2", "--retry-backoff", "0", "--retry-on", "ValueError"]
    arguments += ["--retry-on", "killed", "--spot"]
    assert cli.main([*arguments, "--idempotency-key", "k"], ENVIRONMENT) == 0
    assert client.calls == [
        (
            "start",
            ("training",),
            {
                "snapshot": "tag:nightly",
                "parameters": {"n": 3},
                "steps": {"train": {"depth": 4}},
                "enable_cache": False,
                "tags": ["a"],
                "resources": {"cpu": 512, "memory": 1024},
                "timeout_seconds": 60,
                "priority": -3,
                "concurrency": {"key": "customer-7", "limit": 2, "on_conflict": "skip"},
                "retry": {"max_attempts": 3, "backoff_seconds": 0, "on": ["ValueError", "killed"]},
                "spot": True,
                "idempotency_key": "k",
            },
        )
    ]
    assert capsys.readouterr().out == "r1  queued\n"


def test_run_asks_for_nothing_that_was_not_asked_for(client: FakeClient) -> None:
    """A request without options is the same as before there were any."""
    client.answers["start"] = run()
    assert cli.main(["run", "training"], ENVIRONMENT) == 0
    ((_, _, asked),) = client.calls
    assert not any(asked.values())


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--concurrency-key", "k"], {"concurrency": {"key": "k"}}),
        (["--retries", "1"], {"retry": {"max_attempts": 2}}),
        (["--retries", "0", "--retry-on", "E"], {"retry": {"max_attempts": 1, "on": ["E"]}}),
    ],
)
def test_the_rest_of_an_option_is_left_to_the_api(
    client: FakeClient, options: list[str], asked: dict[str, Any]
) -> None:
    """Its defaults stand in one place."""
    client.answers["start"] = run()
    assert cli.main(["run", "training", *options], ENVIRONMENT) == 0
    assert {name: value for name, value in client.calls[0][2].items() if value} == asked


def test_a_run_that_was_skipped_says_so(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """It was recorded and will never start."""
    client.answers["start"] = run(status="cancelled", message="As many runs with the key are active as may.")
    assert cli.main(["run", "training"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "r1  cancelled: As many runs with the key are active as may.\n"


TRIED = {
    "snapshot": {"id": "training:3", "name": "production"},
    "parameters": {"n": 3},
    "steps": {"train": {"parameters": {"depth": 4}}},
    "would": "start",
    "capacity": {"active_runs": 1, "waiting_runs": 0, "max_active_runs": 20, "max_waiting_runs": 1000},
    "run_task": {"overrides": {}},
    "run_task_overrides": {"characters": 210, "limit": 8192},
    "problems": [],
}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, 0),
        ({"would": "queue"}, 0),
        ({"would": "refuse"}, 1),
        ({"problems": [{"pointer": "/parameters/n", "detail": "'x' is not of type integer"}]}, 1),
    ],
)
def test_a_dry_run_starts_nothing(
    client: FakeClient, capsys: pytest.CaptureFixture[str], said: dict[str, Any], expected: int
) -> None:
    """It says what would run, how it would fit, and all that is wrong; the status is that of a refusal."""
    client.answers["dry_run"] = {**TRIED, **said}
    assert cli.main(["run", "training", "--dry-run", "-p", "n=3"], ENVIRONMENT) == expected
    assert [name for name, _, _ in client.calls] == ["dry_run"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:7]] == [
        ["snapshot", "training:3", "(production)"],
        ["would", said.get("would", "start")],
        ["active", "runs", "1", "of", "20"],
        ["waiting", "runs", "0", "of", "1000"],
        ["RunTask", "210", "of", "8192", "characters", "of", "overrides"],
        ["parameter", "n", "3"],
        ["step", "train.depth", "4"],
    ]
    assert ("  /parameters/n: 'x' is not of type integer" in lines) is ("problems" in said)


def test_a_dry_run_shows_the_limits_of_pipeline_and_key(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that there are. To be skipped is no refusal."""
    counts = {"active_runs": 1, "waiting_runs": 0, "max_active_runs": 2}
    capacity = {**TRIED["capacity"], "pipeline": counts, "concurrency": counts}  # type: ignore[dict-item]
    client.answers["dry_run"] = {**TRIED, "would": "skip", "capacity": capacity}
    assert cli.main(["run", "training", "--dry-run"], ENVIRONMENT) == 0
    out = capsys.readouterr().out
    assert "active of pipeline  1 of 2" in out
    assert "with the same key   1 active, 0 waiting, of 2 at once" in out


@pytest.mark.parametrize(
    ("said", "limit", "shown"),
    [
        ("2", 2, "training: at most 2 active (1 active, 3 waiting)"),
        ("0", 0, "training: paused (1 active, 3 waiting)"),
        ("none", None, "training: no limit of its own (1 active, 3 waiting)"),
    ],
)
def test_a_pipeline_is_limited(
    client: FakeClient, capsys: pytest.CaptureFixture[str], said: str, limit: int | None, shown: str
) -> None:
    """To a number, to none at all, or no longer."""
    counts = {"active_runs": 1, "waiting_runs": 3, "max_active_runs": limit}
    client.answers["limit_pipeline"] = {"name": "training", "capacity": counts}
    assert cli.main(["limit", "training", said], ENVIRONMENT) == 0
    assert client.calls == [("limit_pipeline", ("training", limit), {})]
    assert capsys.readouterr().out == shown + "\n"


STORIES = [
    {
        "number": 1,
        "outcome": "failed",
        "spot": True,
        "launched_at": "2026-11-20T12:00:02Z",
        "claimed_at": "2026-11-20T12:00:30Z",
        "ended_at": "2026-11-20T12:01:30Z",
        "reason": "spot_interrupted",
        "message": "AWS took the Spot capacity back.",
    },
    {"number": 2, "outcome": "succeeded", "claimed_at": "2026-11-20T12:03:00Z", "ended_at": "2026-11-20T12:03:09Z"},
]


def test_status_tells_where_the_time_went_and_of_each_attempt(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Phases as far as they are known; attempts where there was more than one."""
    timings = {
        "recorded_at": "2026-11-20T12:00:00Z",
        "launched_at": "2026-11-20T12:02:00Z",
        "pulled_at": "2026-11-20T12:02:41Z",
        "container_started_at": None,
        "claimed_at": "2026-11-20T12:03:00Z",
        "first_step_at": None,
        "ended_at": "2026-11-20T12:03:09Z",
    }
    client.answers["run"] = run(status="succeeded", timings=timings, attempts=STORIES)
    assert cli.main(["status", "r1"], ENVIRONMENT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cells(line) for line in lines[1:6]] == [
        ["phase", "took"],
        ["waited and launched", "2 min 00 s"],
        ["image pulled", "41 s"],
        ["run claimed", "19 s"],
        ["ended", "9.0 s"],
    ]
    assert [cells(line) for line in lines[6:]] == [
        ["attempt", "outcome", "took", "reason", "message"],
        ["1", "failed (Spot)", "1 min 00 s", "spot_interrupted", "AWS took the Spot capacity back."],
        ["2", "succeeded", "9.0 s"],
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "waits for a slot of the stack or of its pipeline"),
        ({"concurrency": {"key": "k"}}, "or for a run with the key 'k' to end"),
        ({"not_before": "2999-01-01T00:00:00Z", "message": "Attempt 1 failed and is repeated."}, "is tried again"),
        ({"not_before": "2026-01-01T00:00:00Z"}, "waits for a slot"),
    ],
)
def test_status_says_why_a_queued_run_waits(
    client: FakeClient, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], expected: str
) -> None:
    """For a slot, for its key, or for the moment when it is tried again; and what failed before."""
    client.answers["run"] = run(**fields)
    assert cli.main(["status", "r1"], ENVIRONMENT) == 0
    out = capsys.readouterr().out
    assert expected in out
    assert str(fields.get("message", "")) in out


@pytest.mark.parametrize(("follow", "expected"), [(False, 0), (True, 1)])
def test_retry_runs_again(
    client: FakeClient, capsys: pytest.CaptureFixture[str], *, follow: bool, expected: int
) -> None:
    """The new run is what is shown, and followed if asked for."""
    client.answers["retry"] = run(run_id="r2")
    client.answers["wait_for_change"] = (run(run_id="r2", status="failed"), "1")
    assert cli.main(["retry", "r1", *(["--follow"] if follow else [])], ENVIRONMENT) == expected
    assert client.calls[0] == ("retry", ("r1",), {"idempotency_key": None})
    assert "r2" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "expected"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_follow_ends_with_the_run_s_own_outcome(
    client: FakeClient, capsys: pytest.CaptureFixture[str], status: str, expected: int
) -> None:
    """The exit status tells success from failure; the outputs or the error are printed."""
    end = run(
        status=status,
        message="it broke",
        outputs=[{"name": "metrics", "step": "evaluate", "value": {"accuracy": 0.93333333}}],
        error={"step": "train", "type": "ValueError", "message": "bad \x1b[31mred", "traceback": "line 1\nline 2"},
    )
    client.answers["wait_for_change"] = [(run(status="running"), "1"), (end, "2")]
    assert cli.main(["follow", "r1"], ENVIRONMENT) == expected
    out = capsys.readouterr().out
    assert f"training r1 {status}" in out
    assert "evaluate.metrics.accuracy  0.933333" in out
    assert "step train: ValueError: bad red" in out
    assert "line 2" in out


def test_json_goes_to_stdout_alone(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout is one JSON document, progress goes to stderr."""
    client.answers["wait_for_change"] = [(run(status="succeeded"), "1")]
    assert cli.main(["follow", "r1", "--json"], ENVIRONMENT) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["status"] == "succeeded"
    assert "training r1 succeeded" in captured.err


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ZentriggerError("Not allowed", status=403), 1), (Unreachable("https://api.example cannot be reached"), 3)],
)
def test_a_refusal_and_silence_have_their_own_status(
    client: FakeClient, capsys: pytest.CaptureFixture[str], error: Exception, expected: int
) -> None:
    """Scripts can tell "no" from "nobody there"."""
    client.answers["run"] = error
    assert cli.main(["status", "r1"], ENVIRONMENT) == expected
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["ZENTRIGGER_API_URL", "ZENTRIGGER_API_KEY"])
def test_names_the_variable_that_is_missing(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage: status 2, and no guess."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    assert cli.main(["list"], environment) == 2
    assert missing in capsys.readouterr().err


@pytest.mark.parametrize("key", ["zt_a_b\r\nX-Evil: 1", "zt_a_ü", " ", "zt_a b"])
def test_a_key_that_no_header_can_hold_is_not_cited(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The complaint does not repeat the key."""
    assert cli.main(["list"], {**ENVIRONMENT, "ZENTRIGGER_API_KEY": key}) == 2
    captured = capsys.readouterr()
    assert not key.strip() or key not in captured.out + captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "p", "-p", "novalue"],
        ["run", "p", "-p", "a=1", "-p", "a=2"],
        ["run", "p", "--step", "nodot=1"],
        ["run", "p", "--cpu", "512"],
        ["run", "p", "--follow", "--dry-run"],
        ["run", "p", "--concurrency-limit", "2"],
        ["run", "p", "--on-conflict", "skip"],
        ["run", "p", "--concurrency-key", "k", "--on-conflict", "wait"],
        ["run", "p", "--retry-backoff", "3"],
        ["run", "p", "--retry-on", "ValueError"],
        ["run", "p", "--priority", "high"],
        ["limit", "p"],
        ["limit", "p", "-1"],
        ["limit", "p", "few"],
        ["publish"],
        ["publish", "m", "--memory", "512"],
        ["publish", "m", "--secret", "TOKEN=value"],
        ["publish", "--zenml-snapshot", "nightly"],
        ["publish", "--zenml-snapshot", "nightly", "--pipeline", "p", "m"],
        ["snapshots", "update", "p:1"],
        ["snapshots", "update", "p:1", "--replace"],
        ["snapshots", "update", "p:1", "--name", "n", "--no-name"],
        ["trigger", "put", "t"],
        ["trigger", "put", "t", "--body", "{"],
        ["trigger", "put", "t", "--body", "[]"],
        ["trigger", "put", "t", "/does/not/exist"],
        ["keys", "create", "--name", "n", "--scope", "everything"],
        [],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], client: FakeClient) -> None:
    """Nothing is sent for a command line that makes no sense."""
    try:
        status = cli.main(arguments, ENVIRONMENT)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    assert client.calls == []


def test_puts_a_trigger_from_a_file(client: FakeClient, tmp_path: Path) -> None:
    """The file's content is the trigger."""
    file = tmp_path / "trigger.json"
    file.write_text('{"type": "s3"}')
    client.answers["put_trigger"] = {"name": "arrivals"}
    assert cli.main(["trigger", "put", "arrivals", str(file)], ENVIRONMENT) == 0
    assert client.calls == [("put_trigger", ("arrivals", {"type": "s3"}), {})]


def test_prints_logs_page_by_page(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Stops where the log ends; what user code printed cannot steer the terminal."""
    client.answers["logs"] = [
        {"items": [{"line": "one\x1b[2J\n"}], "next": "c1"},
        {"items": [{"line": "two"}], "next": "c2"},
        {"items": [], "next": "c2"},
    ]
    assert cli.main(["logs", "r1", "--attempt", "1"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert [kwargs["cursor"] for _, _, kwargs in client.calls] == [None, "c1", "c2"]
    assert {kwargs["attempt"] for _, _, kwargs in client.calls} == {1}


def test_follows_logs_from_attempt_to_attempt(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of the one is read to its end before that of the next, which has cursors of its own."""
    monkeypatch.setattr("zentrigger_client.cli.time.sleep", lambda _: None)
    first, second = run(status="running", attempt=1), run(status="running", attempt=2)
    client.answers["run"] = [first, first, second, second, second, run(status="succeeded", attempt=2)]
    client.answers["logs"] = [
        {"items": [{"line": "one"}], "next": "a"},
        {"items": [], "next": "a"},
        {"items": [{"line": "last words"}], "next": "b"},
        {"items": [], "next": "b"},
        {"items": [{"line": "two"}], "next": "c"},
        {"items": [], "next": "c"},
    ]
    assert cli.main(["logs", "r1", "--follow"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "one\nlast words\ntwo\n"
    asked = [(kwargs["attempt"], kwargs["cursor"]) for name, _, kwargs in client.calls if name == "logs"]
    assert asked == [(1, None), (1, "a"), (1, "a"), (1, "b"), (2, None), (2, "c")]


def test_the_log_of_an_earlier_attempt_ends_with_it(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the run does now."""
    client.answers["run"] = run(status="running", attempt=2)
    client.answers["logs"] = [{"items": [{"line": "one"}], "next": "a"}, {"items": [], "next": "a"}]
    assert cli.main(["logs", "r1", "--follow", "--attempt", "1"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "one\n"
