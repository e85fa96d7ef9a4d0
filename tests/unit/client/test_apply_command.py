"""`zentrigger apply`: what it asks of the API, whom it asks first, and its exit status."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.conftest import ENVIRONMENT, FakeClient
from zentrigger_client import cli
from zentrigger_client.api import Unreachable, ZentriggerError

DEFINITION = {"type": "s3", "pipeline": "p"}
TRIGGERS = {"a": DEFINITION}
PLAN = "5ca1ab1e"


class Terminal(io.StringIO):
    """Standard input with somebody at it, who types this."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Give the path of a file of triggers."""
    path = tmp_path / "triggers.json"
    path.write_text(json.dumps({"triggers": TRIGGERS}), encoding="utf-8")
    return str(path)


def answer(*kinds: str, written: bool = False) -> dict[str, Any]:
    """Give the API's answer: a change of each of these kinds; until they are written, with definitions and a plan."""
    sides = {"create": (None, DEFINITION), "update": (DEFINITION, DEFINITION), "delete": (DEFINITION, None)}
    changes: list[dict[str, Any]] = []
    for number, kind in enumerate(kinds):
        change: dict[str, Any] = {"name": f"t{number}", "change": kind, **DEFINITION}
        if not written and kind in sides:
            change |= dict(zip(("before", "after"), sides[kind], strict=True))
        changes.append(change)
    return {"written": written, "changes": changes, **({} if written else {"plan": PLAN})}


def asked(client: FakeClient) -> list[bool]:
    """Give for each call whether it was a dry run."""
    assert {name for name, _, _ in client.calls} <= {"put_triggers"}
    return [kwargs.get("dry_run", False) for _, _, kwargs in client.calls]


@pytest.mark.parametrize(
    ("kinds", "options", "expected"),
    [
        (["create"], [], (0, [True, False])),
        (["unchanged"], [], (0, [True])),
        ([], [], (0, [True])),
        (["create"], ["--dry-run"], (0, [True])),
        (["create"], ["--dry-run", "--exit-code"], (2, [True])),
        (["delete"], ["--dry-run", "--exit-code", "--prune"], (2, [True])),
        (["unchanged"], ["--dry-run", "--exit-code"], (0, [True])),
        (["delete"], ["--prune", "--yes"], (0, [True, False])),
    ],
)
def test_status_and_calls(
    client: FakeClient, file: str, kinds: list[str], options: list[str], expected: tuple[int, list[bool]]
) -> None:
    """What changes nothing is not written, and a dry run writes nothing."""
    status, calls = expected
    client.answers["put_triggers"] = [answer(*kinds), answer(*kinds, written=True)]
    assert cli.main(["apply", file, *options], ENVIRONMENT) == status
    assert asked(client) == calls
    assert [args for _, args, _ in client.calls] == [(TRIGGERS,)] * len(calls)
    assert {kwargs["prune"] for _, _, kwargs in client.calls} == {"--prune" in options}
    # What is done is what was shown, or nothing.
    assert [kwargs.get("plan") for _, _, kwargs in client.calls] == [None, PLAN][: len(calls)]


@pytest.mark.parametrize("typed", ["y\n", "Yes\n", "\n", "n\n", "yesterday\n", ""])
def test_asks_before_it_deletes(
    client: FakeClient, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    """After it has shown what. Anything but a yes is a no, the end of input too."""
    yes = typed in {"y\n", "Yes\n"}
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    client.answers["put_triggers"] = [answer("delete", "create"), answer("delete", "create", written=True)]
    assert cli.main(["apply", file, "--prune"], ENVIRONMENT) == (0 if yes else 1)
    captured = capsys.readouterr()
    assert "- t0 (s3, p)" in captured.out
    assert "Delete 1 trigger (t0)? [y/N] " in captured.err
    assert ("Nothing was applied." in captured.err) is not yes
    assert asked(client) == ([True, False] if yes else [True])


def test_does_not_ask_where_nothing_is_deleted(
    client: FakeClient, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    client.answers["put_triggers"] = answer("create")
    assert cli.main(["apply", file, "--prune"], ENVIRONMENT) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), Terminal('{"triggers": {}}')])
def test_nothing_is_pruned_where_nobody_can_be_asked(
    client: FakeClient, file: str, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO
) -> None:
    """No terminal, or one from which the file itself comes: wrong usage, also on a day with nothing to delete."""
    monkeypatch.setattr("sys.stdin", stdin)
    path = "-" if stdin.isatty() else file
    assert cli.main(["apply", path, "--prune"], ENVIRONMENT) == 2
    assert client.calls == []


@pytest.mark.parametrize(
    ("arguments", "environment", "status"),
    [
        (["--exit-code"], ENVIRONMENT, 1),
        (["--dry-run", "--exit-code"], {}, 1),
        (["--dry-run"], {}, 2),
    ],
)
def test_a_missing_variable_does_not_look_like_changes(
    client: FakeClient, file: str, arguments: list[str], environment: dict[str, str], status: int
) -> None:
    """With --exit-code, 2 means that something would change, and nothing else."""
    assert cli.main(["apply", file, *arguments], environment) == status
    assert client.calls == []


@pytest.mark.parametrize(
    ("error", "status"), [(Unreachable("nobody there"), 3), (ZentriggerError("Not allowed", status=403), 1)]
)
def test_an_error_does_not_look_like_changes(
    client: FakeClient, file: str, capsys: pytest.CaptureFixture[str], error: ZentriggerError, status: int
) -> None:
    client.answers["put_triggers"] = error
    assert cli.main(["apply", file, "--dry-run", "--exit-code"], ENVIRONMENT) == status
    assert str(error) in capsys.readouterr().err


def test_json_is_the_answer_alone(client: FakeClient, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The diff goes to stderr then."""
    client.answers["put_triggers"] = [answer("create"), answer("create", written=True)]
    assert cli.main(["apply", file, "--json"], ENVIRONMENT) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == answer("create", written=True)
    assert "+ t0 (s3, p)" in captured.err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_says_if_the_triggers_are_not_as_they_were_shown(
    client: FakeClient, file: str, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    """Somebody else was at it between the two calls: nothing is applied, and what is new is to be looked at first."""
    detail = "It would do something else now."
    problem = {"title": "Not now", "detail": detail, "errors": [{"pointer": "/plan", "detail": detail}]}
    refused = ZentriggerError("Not now", detail=detail, status=409, errors=problem["errors"], problem=problem)  # type: ignore[arg-type]
    client.answers["put_triggers"] = [answer("create"), refused]
    assert cli.main(["apply", file, *form], ENVIRONMENT) == 1
    captured = capsys.readouterr()
    assert "Applied." not in captured.out
    if form:
        assert json.loads(captured.out) == problem
    else:
        assert captured.err == (
            "The triggers have changed since they were read, so nothing was applied. Run apply again to see what is"
            " new.\n"
        )


def test_another_conflict_is_shown_as_it_is(client: FakeClient, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Only that of the plan is mended by running the command again."""
    client.answers["put_triggers"] = [answer("create"), ZentriggerError("There are too many", status=409)]
    assert cli.main(["apply", file], ENVIRONMENT) == 1
    assert capsys.readouterr().err == "There are too many\n"


def test_what_the_api_refuses_is_shown_by_trigger(
    client: FakeClient, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names are unescaped; what is of no trigger stands for all; JSON has no lines."""
    errors = [
        {"pointer": "/triggers/a/parameters/x", "detail": "is no integer"},
        {"pointer": "/triggers/b~1c", "detail": "is no name"},
        {"pointer": "/triggers/a/type", "detail": "is unknown"},
        {"pointer": "/triggers", "detail": "at most 100 may change"},
        {"pointer": "", "detail": "is odd"},
    ]
    client.answers["put_triggers"] = ZentriggerError("Not valid", detail="5 errors", status=422, errors=errors)
    assert cli.main(["apply", file], ENVIRONMENT) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{file} is refused, and nothing was written. Not valid: 5 errors",
        "a",
        "  /parameters/x: is no integer",
        "  /type: is unknown",
        "b/c",
        "  is no name",
        "all of them",
        "  /triggers: at most 100 may change",
        "  is odd",
    ]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_that_makes_no_sense_is_refused_with_its_lines(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    """Status 1, not 2: with --exit-code that would mean changes. Nothing is sent."""
    path = tmp_path / "t.yaml"
    path.write_text("triggers:\n  a:\nmore: 1\n", encoding="utf-8")
    assert cli.main(["apply", str(path), *form], ENVIRONMENT) == 1
    captured = capsys.readouterr()
    if form:
        assert [error["place"] for error in json.loads(captured.out)["errors"]] == [f"{path}:3", f"{path}:2"]
    else:
        assert captured.err.splitlines()[:2] == [
            f"{path} cannot be applied",
            f"  {path}:3: unknown key 'more'; all there may be here is triggers",
        ]
    path.write_text("a: [", encoding="utf-8")
    assert cli.main(["apply", str(path), *form], ENVIRONMENT) == 1
    assert f"{path}:1" in "".join(capsys.readouterr())
    assert client.calls == []
