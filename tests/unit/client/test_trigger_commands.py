"""The commands about triggers: what they ask, what they print, and where secrets go."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.conftest import ENVIRONMENT, FakeClient, cells
from zentrigger_client import cli

SECRET = "whsec_bm90LWEtc2VjcmV0"
SCHEDULE = {
    "name": "nightly",
    "definition": {
        "type": "schedule",
        "pipeline": "training",
        "snapshot": "production",
        "enabled": True,
        "schedule": "cron(0 6 * * ? *)",
        "time_zone": "Europe/Berlin",
        "max_runs": None,
        "tags": [],
        "parameters": {"rows": 5, "on": False},
    },
    "created_at": "2026-11-01T00:00:00Z",
    "updated_at": "2026-11-02T00:00:00Z",
    "counts": {"started": 12, "duplicate": 0, "skipped_overlap": 3},
    "next_times": ["2026-11-21T05:00:00Z", "2026-11-22T05:00:00Z"],
    "schedule_state": "pending",
}
HOOK = {"name": "hook", "definition": {"type": "webhook", "pipeline": "p", "enabled": False}, "schedule_state": None}


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["list"], ("triggers", (), {"limit": 100, "cursor": None})),
        (["show", "t"], ("trigger", ("t",), {})),
        (["delete", "t"], ("delete_trigger", ("t",), {})),
        (["receipts", "t"], ("receipts", ("t",), {"outcome": None, "limit": None, "cursor": None})),
        (
            ["receipts", "t", "--outcome", "rejected", "--limit", "3", "--cursor", "c"],
            ("receipts", ("t",), {"outcome": "rejected", "limit": 3, "cursor": "c"}),
        ),
        (
            ["unmatched", "--bucket", "b", "--key", "k", "--limit", "3", "--cursor", "c"],
            ("unmatched_events", (), {"bucket": "b", "key": "k", "limit": 3, "cursor": "c"}),
        ),
        (["test", "t"], ("test_trigger", ("t", None), {"recent": False})),
        (["test", "t", "--recent"], ("test_trigger", ("t", None), {"recent": True})),
        (["secret", "t"], ("set_trigger_secret", ("t", None), {})),
    ],
)
@pytest.mark.parametrize("group", ["trigger", "triggers"])
def test_each_command_is_one_call(
    client: FakeClient, group: str, arguments: list[str], call: tuple[str, tuple[Any, ...], dict[str, Any]]
) -> None:
    """Under both names of the group."""
    page: dict[str, Any] = {"items": [], "next": None}
    client.answers = dict.fromkeys(("triggers", "receipts", "unmatched_events", "test_trigger"), page)
    client.answers |= {"trigger": SCHEDULE, "delete_trigger": None, "set_trigger_secret": {"name": "t"}}
    assert cli.main([group, *arguments], ENVIRONMENT) == 0
    assert client.calls == [call]


def test_a_refused_schedule_is_shown_with_its_reason(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """In AWS's words; the list names it only."""
    refused = SCHEDULE | {"schedule_state": "refused", "schedule_problem": "You have too many schedules."}
    client.answers = {"trigger": refused, "triggers": {"items": [refused], "next": None}}
    assert cli.main(["trigger", "show", "nightly"], ENVIRONMENT) == 0
    assert "refused: You have too many schedules." in capsys.readouterr().out
    assert cli.main(["trigger", "list"], ENVIRONMENT) == 0
    assert "2026-11-21T05:00:00Z, schedule refused" in capsys.readouterr().out


def test_lists_all_triggers(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """All pages; what each starts, whether it is on, what became of its events, and when it is next."""
    client.answers["triggers"] = [{"items": [HOOK], "next": "c"}, {"items": [SCHEDULE], "next": None}]
    assert cli.main(["trigger", "list"], ENVIRONMENT) == 0
    assert [cells(line) for line in capsys.readouterr().out.splitlines()] == [
        ["trigger", "type", "target", "enabled", "events", "next time"],
        ["hook", "webhook", "p", "no"],
        [
            "nightly", "schedule", "training, snapshot production", "yes",
            "12 started, 3 skipped_overlap", "2026-11-21T05:00:00Z, schedule pending",
        ],
    ]  # fmt: skip
    assert [kwargs["cursor"] for _, _, kwargs in client.calls] == [None, "c"]


def test_shows_a_trigger(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What its definition says, but not what it leaves out; the next times; whether its schedule lags behind."""
    client.answers["trigger"] = SCHEDULE
    assert cli.main(["trigger", "show", "nightly"], ENVIRONMENT) == 0
    assert [cells(line) for line in capsys.readouterr().out.splitlines()] == [
        ["trigger", "nightly"],
        ["type", "schedule"],
        ["target", "training, snapshot production"],
        ["enabled", "yes"],
        ["schedule", "cron(0 6 * * ? *)"],
        ["time_zone", "Europe/Berlin"],
        ["parameters.rows", "5"],
        ["parameters.on", "false"],
        ["events", "12 started, 3 skipped_overlap"],
        ["next time", "2026-11-21T05:00:00Z"],
        ["2026-11-22T05:00:00Z"],
        ["schedule", "pending: not as the definition says yet"],
        ["created at", "2026-11-01T00:00:00Z"],
        ["updated at", "2026-11-02T00:00:00Z"],
    ]


def test_shows_receipts(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an object, an ended run, a schedule and a webhook; what was sent cannot steer the terminal."""
    at = "2026-11-20T12:00:00Z"
    client.answers["receipts"] = {
        "items": [
            {"at": at, "outcome": "started", "run_id": "r1", "bucket": "b", "key": "in/a b.csv", "detail": None},
            {"at": at, "outcome": "skipped_cycle", "upstream": "r0", "key": None, "detail": "a\x1b[2Jb"},
            {"at": at, "outcome": "started", "run_id": "r2", "scheduled_at": at},
            {"at": at, "outcome": "duplicate", "run_id": "r3", "delivery_id": "msg_1"},
            {"at": at, "outcome": "disabled", "delivery_id": None},
        ],
        "next": "c2",
    }
    assert cli.main(["trigger", "receipts", "t"], ENVIRONMENT) == 0
    assert [cells(line) for line in capsys.readouterr().out.splitlines()] == [
        ["at", "outcome", "run", "what", "detail"],
        [at, "started", "r1", "s3://b/in/a b.csv"],
        [at, "skipped_cycle", "run r0", "ab"],
        [at, "started", "r2", f"scheduled at {at}"],
        [at, "duplicate", "r3", "delivery msg_1"],
        [at, "disabled"],
        ["more: --cursor c2"],
    ]


def test_shows_why_an_event_started_nothing(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """By trigger, if there was any that waits for such events."""
    event = {"at": "2026-11-20T12:00:00Z", "type": "s3", "bucket": "b", "key": "a.csv", "trigger": None}
    refused = [{"name": "arrivals", "why": "the key does not begin with in/"}]
    client.answers["unmatched_events"] = {
        "items": [{**event, "triggers": refused}, {"at": event["at"], "type": "webhook", "trigger": "calls"}],
        "next": None,
    }
    assert cli.main(["trigger", "unmatched"], ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-20T12:00:00Z  s3  s3://b/a.csv",
        "  arrivals: the key does not begin with in/",
        "2026-11-20T12:00:00Z  webhook  trigger calls",
        "  no trigger waits for such events",
    ]
    client.answers["unmatched_events"] = {"items": [], "next": None}
    assert cli.main(["trigger", "unmatched"], ENVIRONMENT) == 0
    assert capsys.readouterr().out == "no such event in the last day\n"


TESTED = {
    "event": {"object": {"key": "in/a.csv"}},
    "matches": True,
    "outcome": "started",
    "detail": None,
    "run_id": None,
    "request": {"pipeline": "p"},
    "would": "queue",
}


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ({}, 0, ["matches  yes", "outcome  started", "would    queue", "request:", "{", '  "pipeline": "p"', "}"]),
        (
            {"matches": False, "detail": "no .csv", "outcome": "not_matched", "request": None, "would": None},
            1,
            ["matches  no", "outcome  not_matched: no .csv"],
        ),
        (
            {"outcome": "rejected", "detail": "there is no {object.etag}", "request": None, "would": None},
            1,
            ["matches  yes", "outcome  rejected: there is no {object.etag}"],
        ),
        (
            {"outcome": "duplicate", "run_id": "r1", "request": None, "would": None},
            0,
            ["matches  yes", "outcome  duplicate", "run      r1"],
        ),
    ],
)
def test_tells_what_a_trigger_would_do(
    client: FakeClient, capsys: pytest.CaptureFixture[str], said: dict[str, Any], status: int, expected: list[str]
) -> None:
    """The status is 1 if the event does not match or its request would be refused."""
    client.answers["test_trigger"] = {"items": [{**TESTED, **said}]}
    assert cli.main(["trigger", "test", "t"], ENVIRONMENT) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'event    {"object": {"key": "in/a.csv"}}'
    assert lines[1:] == expected


def test_a_request_that_is_not_shown_is_told(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The API leaves out what is too large together; that there is one, the outcome says."""
    client.answers["test_trigger"] = {"items": [{name: TESTED[name] for name in TESTED if name != "request"}]}
    assert cli.main(["trigger", "test", "t"], ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "request: too large to be shown with the others"


def test_tests_with_an_event_of_a_file(client: FakeClient, tmp_path: Path) -> None:
    """YAML or JSON; what is no mapping is wrong usage."""
    client.answers["test_trigger"] = {"items": []}
    path = tmp_path / "event.yaml"
    path.write_text("on: {key: a.csv}\n", encoding="utf-8")
    assert cli.main(["trigger", "test", "t", "--event", str(path)], ENVIRONMENT) == 0
    assert client.calls == [("test_trigger", ("t", {"on": {"key": "a.csv"}}), {"recent": False})]
    for text in ("- a\n", "a: ["):
        path.write_text(text, encoding="utf-8")
        assert cli.main(["trigger", "test", "t", "--event", str(path)], ENVIRONMENT) == 2
    assert len(client.calls) == 1


@pytest.mark.parametrize("source", ["file", "stdin", "terminal"])
def test_takes_a_secret_from_where_nobody_sees_it(
    client: FakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
) -> None:
    """A file, a pipe, or typed unseen. An editor's last line break is not of it; nothing on stdout repeats it."""
    path = tmp_path / "secret"
    path.write_text(f" {SECRET}\n", encoding="utf-8")
    stdin = io.StringIO(f" {SECRET}\r\n")
    monkeypatch.setattr(stdin, "isatty", lambda: source == "terminal")
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("getpass.getpass", lambda _: f" {SECRET}")
    client.answers["set_trigger_secret"] = {"name": "t", "secret": None, "previous_valid_until": "2026-01-02"}
    given = str(path) if source == "file" else "-"
    assert cli.main(["trigger", "secret", "t", "--secret-file", given], ENVIRONMENT) == 0
    assert client.calls == [("set_trigger_secret", ("t", f" {SECRET}"), {})]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "t has the given secret. The one before stays good until 2026-01-02.\n"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_prints_a_secret_that_was_made_once(
    client: FakeClient, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    """On stdout, alone or in the answer."""
    answer = {"name": "t", "secret": SECRET, "created_at": "", "previous_valid_until": None}
    client.answers["set_trigger_secret"] = answer
    assert cli.main(["trigger", "secret", "t", *form], ENVIRONMENT) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == answer if form else captured.out == f"{SECRET}\n"
    assert captured.err == "t has a new secret, shown this once.\n"


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff" + SECRET.encode(), None])
def test_what_is_no_secret_is_not_sent_and_not_cited(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """Empty, no text, no file."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["trigger", "secret", "t", "--secret-file", str(path)], ENVIRONMENT) == 2
    assert SECRET not in "".join(capsys.readouterr())
    assert client.calls == []


@pytest.mark.parametrize(
    "arguments",
    [[SECRET], ["--secret", SECRET], [f"--secret={SECRET}"], ["--secret-file", SECRET], ["a", "--secret", "b"]],
)
def test_no_argument_is_a_secret(client: FakeClient, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Command lines show in lists of processes. Who tries does not find it on the terminal, too."""
    assert cli.main(["trigger", "secret", "t", *arguments], ENVIRONMENT) == 2
    captured = capsys.readouterr()
    assert "--secret-file" in captured.err
    assert SECRET not in captured.out + captured.err
    assert client.calls == []


def test_triggers_that_the_api_cannot_read_are_told_apart(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each page. A file without them is no file of all triggers: status 1, for to apply it would delete them."""
    pages = [
        {"items": [], "next": "c", "unreadable": [{"name": "a", "type": None, "detail": "'a' cannot be read."}]},
        {"items": [HOOK], "next": None, "unreadable": [{"name": "z", "type": "s3", "detail": "'z' cannot be read."}]},
    ]
    client.answers["triggers"] = [*pages, *pages, *pages]
    assert cli.main(["trigger", "list"], ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "hook     webhook  p       no",
        "'a' cannot be read.",
        "'z' cannot be read.",
    ]
    assert cli.main(["trigger", "list", "--json"], ENVIRONMENT) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["unreadable"]] == ["a", "z"]
    assert cli.main(["trigger", "export"], ENVIRONMENT) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1:3] == ["triggers:", "  hook:"]
    assert captured.err.splitlines() == [
        "a is not in it: 'a' cannot be read.",
        "z is not in it: 'z' cannot be read.",
    ]


def test_exports_all_triggers(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """As YAML, in which a key that YAML 1.1 takes for a boolean is quoted; or as JSON."""
    definition = {"type": "run", "pipeline": "p", "on": ["failed"], "snapshot": None}
    client.answers["triggers"] = {"items": [{"name": "a", "definition": definition}], "next": None}
    assert cli.main(["trigger", "export"], ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "triggers:",
        "  a:",
        "    type: run",
        "    pipeline: p",
        "    'on':",
        "    - failed",
    ]
    assert cli.main(["trigger", "export", "--json"], ENVIRONMENT) == 0
    expected = {"triggers": {"a": {"type": "run", "pipeline": "p", "on": ["failed"]}}}
    assert json.loads(capsys.readouterr().out) == expected
