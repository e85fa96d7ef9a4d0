"""`zentrigger publish`: what it sends, what it shows, and what it does when something is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import factories
from tests.unit.client.conftest import ENVIRONMENT, FakeClient, cells
from zentrigger import views
from zentrigger.publishing import Publication
from zentrigger.schema_changes import Change
from zentrigger_client import cli, publish
from zentrigger_client.api import Unreachable, ZentriggerError
from zentrigger_client.publish import Compilation, CompilationFailure

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/runner@sha256:" + "0123456789ab" + "c" * 52
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:pipelines/token-AbCdEf"
FAILED = CompilationFailure("pipeline broken", "cannot be compiled\n    KeyError: 'x'")


def compiled(pipeline: str = "training") -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "description": "of the docstring",
        "parameters_schema": {"properties": {"url": {}, "n": {"default": 3}, "late": {}}, "required": ["url"]},
    }


def published(
    *changes: Change, created: bool = True, triggers: tuple[str, ...] = (), names: tuple[str, ...] = (), **fields: Any
) -> dict[str, Any]:
    """Answer as the API does, with its own code, so that the two sides cannot drift apart."""
    snapshot = factories.snapshot(factories.content(image=IMAGE), 4, **fields).summary
    return views.publication_view(
        Publication(
            snapshot, newest=True, created=created, changes=changes, broken_triggers=triggers, broken_names=names
        )
    )


@pytest.fixture
def compile_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Put one compiled pipeline in the place of compiling; gives how it was asked for."""
    return compiling(monkeypatch, Compilation((compiled(),), ()))


def compiling(monkeypatch: pytest.MonkeyPatch, result: Compilation) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def compile_(*args: Any, **kwargs: Any) -> Compilation:
        calls.append((args, kwargs))
        return result

    monkeypatch.setattr(publish, "compile_modules", compile_)
    monkeypatch.setattr(publish, "describe_stored", compile_)
    return calls


def test_every_option_gets_where_it_belongs(
    client: FakeClient, compile_calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
) -> None:
    """What is found by compiling is asked for there; all else stands in the body, as the API names it."""
    client.answers["publish"] = published()
    arguments = ["publish", "one", "--module", "two", "--pipeline", "training", "--sample", "training.url=s3://a"]
    arguments += ["--config", "nightly.yaml", "--use-my-zenml", "--stack", "aws", "--image", IMAGE]
    arguments += ["--name", "production", "--replace", "--tag", "a", "--tag", "b", "--description", "what it is"]
    arguments += ["--architecture", "ARM64", "--secret", f"TOKEN={SECRET}", "--cpu", "512", "--memory", "1024"]
    assert cli.main([*arguments, "--timeout-seconds", "60", "--allow-breaking"], ENVIRONMENT) == 0
    assert compile_calls == [
        (
            (["one", "two"],),
            {
                "pipelines": ["training"],
                "samples": {"training": {"url": "s3://a"}},
                "config": Path("nightly.yaml"),
                "use_my_zenml": True,
                "stack": "aws",
            },
        )
    ]
    assert client.calls[0][1][0] == {
        **compiled(),
        "description": "what it is",
        "image": IMAGE,
        "architecture": "ARM64",
        "stack": "aws",
        "secrets": {"TOKEN": SECRET},
        "resources": {"cpu": 512, "memory": 1024},
        "timeout_seconds": 60,
        "name": "production",
        "replace": True,
        "tags": ["a", "b"],
        "allow_breaking": True,
    }


@pytest.mark.usefixtures("compile_calls")
def test_what_is_not_said_is_not_sent(client: FakeClient) -> None:
    """The API's own defaults hold."""
    client.answers["publish"] = published()
    assert cli.main(["publish", "pipelines"], ENVIRONMENT) == 0
    assert client.calls[0][1][0] == compiled()


def test_a_snapshot_of_zenml_is_read_from_its_store(
    client: FakeClient, compile_calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
) -> None:
    """Nothing is compiled."""
    client.answers["publish"] = published()
    assert cli.main(["publish", "--zenml-snapshot", "nightly", "--pipeline", "training"], ENVIRONMENT) == 0
    assert compile_calls == [(("nightly", "training"), {})]


@pytest.mark.usefixtures("compile_calls")
def test_shows_what_was_published_and_what_changed(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a pipeline, a line a change, and what the changes concern."""
    client.answers["publish"] = published(
        Change(kind="removed", pointer="/parameters/rows", breaking=True, detail="rows is gone"),
        Change(kind="added", pointer="/parameters/late", breaking=False, detail="late\x1b[31m is new"),
        triggers=("arrivals",),
        names=("production",),
        name="production",
        tags=["a", "b"],
    )
    assert cli.main(["publish", "pipelines"], ENVIRONMENT) == 0
    assert [cells(line) for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["training", "4", "new", "production", "a, b", "0123456789ab", "2 changes, 1 breaking", "url, n=3, late?"],
        ["training: removed /parameters/rows (breaking): rows is gone"],
        ["training: added /parameters/late: late is new"],
        ["training: triggers that no longer fit: arrivals"],
        ["training: names that have these changes now: production"],
    ]


@pytest.mark.usefixtures("compile_calls")
def test_unchanged_content_is_told_from_new_content(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.answers["publish"] = published(created=False)
    assert cli.main(["publish", "pipelines"], ENVIRONMENT) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["training", "4", "unchanged", "0123456789ab", "url,", "n=3,", "late?"]


BREAKING = {
    "title": "This cannot be done now",
    "detail": "Nothing was written.",
    "status": 409,
    "errors": [
        {"pointer": "/parameters/rows", "detail": "rows is gone"},
        {"pointer": "/triggers/arrivals", "detail": "arrivals would no longer fit"},
    ],
}
TAKEN = {"title": "Taken", "status": 409, "errors": [{"pointer": "/name", "detail": "training:3 has the name"}]}


def refusal(problem: dict[str, Any]) -> ZentriggerError:
    return ZentriggerError(problem["title"], status=problem["status"], errors=problem["errors"], problem=problem)


@pytest.mark.parametrize(
    ("problem", "advice"),
    [(BREAKING, "--allow-breaking does it anyway."), (TAKEN, "--replace moves the name.")],
)
@pytest.mark.usefixtures("compile_calls")
def test_a_conflict_lists_everything_and_the_way_on(
    client: FakeClient, capsys: pytest.CaptureFixture[str], problem: dict[str, Any], advice: str
) -> None:
    """All changes, all triggers, and the option for it; the status is 1."""
    client.answers["publish"] = refusal(problem)
    assert cli.main(["publish", "pipelines"], ENVIRONMENT) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("training was not published.\n")
    assert captured.err.endswith(f"{advice}\n")
    for error in problem["errors"]:
        assert f"  {error['pointer']}: {error['detail']}\n" in captured.err


@pytest.mark.parametrize(("keep_going", "sent"), [(False, 2), (True, 3)])
def test_a_refusal_hides_nothing_that_was_published(
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    keep_going: bool,
    sent: int,
) -> None:
    """What came before is shown as published; what comes after is tried only if told so."""
    compiling(monkeypatch, Compilation((compiled("a"), compiled("b"), compiled("c")), ()))
    client.answers["publish"] = [published(), refusal(BREAKING), published()]
    assert cli.main(["publish", "pipelines", *(["--keep-going"] if keep_going else [])], ENVIRONMENT) == 1
    assert len(client.calls) == sent
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == ["pipeline", "a", *(["c"] if keep_going else [])]
    assert "b was not published." in captured.err
    assert ("Not tried any more: c" in captured.err) is not keep_going


def test_as_json(client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, of what was published and what was not."""
    compiling(monkeypatch, Compilation((compiled("a"), compiled("b")), ()))
    client.answers["publish"] = [published(), refusal(BREAKING)]
    assert cli.main(["publish", "pipelines", "--json"], ENVIRONMENT) == 1
    assert json.loads(capsys.readouterr().out) == {
        "snapshots": [published()],
        "failures": [{"pipeline": "b", "problem": BREAKING}],
    }


def test_nobody_answers(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is tried, also with --keep-going, and the status is that of silence."""
    compiling(monkeypatch, Compilation((compiled("a"), compiled("b")), ()))
    client.answers["publish"] = Unreachable("https://api.example cannot be reached")
    assert cli.main(["publish", "pipelines", "--keep-going"], ENVIRONMENT) == 3
    assert len(client.calls) == 1


@pytest.mark.parametrize(("keep_going", "sent"), [(False, 0), (True, 1)])
def test_one_that_cannot_be_compiled_stops_the_others_unless_told_otherwise(
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    keep_going: bool,
    sent: int,
) -> None:
    """The status is 1 either way, and the failure is named."""
    compiling(monkeypatch, Compilation((compiled(),), (FAILED,)))
    client.answers["publish"] = published()
    assert cli.main(["publish", "pipelines", *(["--keep-going"] if keep_going else [])], ENVIRONMENT) == 1
    assert len(client.calls) == sent
    captured = capsys.readouterr()
    assert "pipeline broken: cannot be compiled" in captured.err
    assert ("With --keep-going these would have been: training" in captured.err) is not keep_going
    assert ("0123456789ab" in captured.out) is keep_going


@pytest.mark.usefixtures("compile_calls")
def test_a_dry_run_needs_no_api(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the bodies as they would be sent."""
    assert cli.main(["publish", "pipelines", "--dry-run", "--name", "production"], {}) == 0
    assert json.loads(capsys.readouterr().out) == [{**compiled(), "name": "production"}]
