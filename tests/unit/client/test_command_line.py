"""The command line: what it understands, what it prints, its exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from zentrigger_client import cli, publish
from zentrigger_client.api import Unreachable, ZentriggerError
from zentrigger_client.publish import Compilation, CompilationFailure

KEY = "zt_operator_c2VjcmV0LXNlY3JldA"
ENVIRONMENT = {"ZENTRIGGER_API_URL": "https://api.example", "ZENTRIGGER_API_KEY": KEY}


class FakeClient:
    """Stands for `Client`: remembers the calls and answers what the test wants."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Put a fake in the place of the command line's client."""
    fake = FakeClient({})
    monkeypatch.setattr(cli, "Client", lambda _url, _key: fake)
    return fake


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
    assert cli.assignment(text, "parameter") == expected


@pytest.mark.parametrize("text", ["n", "=3", ":=3", ""])
def test_refuses_what_is_no_assignment(text: str) -> None:
    """Without a name or an equals sign nothing is guessed."""
    with pytest.raises(cli.UsageError, match="NAME=VALUE"):
        cli.assignment(text, "parameter")


def test_run_sends_what_was_asked_for(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option of `run` reaches the API."""
    client.answers["start"] = run()
    arguments = ["run", "training", "-p", "n=3", "--step", "train.depth=4", "--tag", "a", "--no-cache"]
    assert cli.main([*arguments, "--idempotency-key", "k"], ENVIRONMENT) == 0
    assert client.calls == [
        (
            "start",
            ("training",),
            {
                "parameters": {"n": 3},
                "steps": {"train": {"depth": 4}},
                "enable_cache": False,
                "tags": ["a"],
                "idempotency_key": "k",
            },
        )
    ]
    assert capsys.readouterr().out == "r1  queued\n"


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
    assert cli.main(["logs", "r1"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert [kwargs["cursor"] for _, _, kwargs in client.calls] == [None, "c1", "c2"]


SNAPSHOT = {
    "pipeline": "training",
    "parameters_schema": {"properties": {"url": {}, "n": {"default": 3}}, "required": ["url"]},
}


@pytest.mark.parametrize(("keep_going", "published"), [(False, 0), (True, 1)])
def test_one_that_cannot_be_compiled_stops_the_others_unless_told_otherwise(
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    keep_going: bool,
    published: int,
) -> None:
    """The status is 1 either way, and the failure is named."""
    failed = CompilationFailure("pipeline broken", "cannot be compiled\n    KeyError: 'x'")
    monkeypatch.setattr(publish, "compile_modules", lambda *_, **__: Compilation((SNAPSHOT,), (failed,)))
    client.answers["publish"] = {"id": "training:1", "number": 1, "created": True}
    assert cli.main(["publish", "pipelines", *(["--keep-going"] if keep_going else [])], ENVIRONMENT) == 1
    assert len(client.calls) == published
    captured = capsys.readouterr()
    assert "pipeline broken: cannot be compiled" in captured.err
    assert ("training  1         created  url, n=3" in captured.out) is keep_going


def test_says_what_was_published(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unchanged content is told from new content."""
    monkeypatch.setattr(publish, "compile_modules", lambda *_, **__: Compilation((SNAPSHOT,), ()))
    client.answers["publish"] = {"id": "training:4", "number": 4, "created": False}
    assert cli.main(["publish", "pipelines"], ENVIRONMENT) == 0
    assert "training  4         unchanged  url, n=3" in capsys.readouterr().out
