"""The commands about triggers over real HTTP, as processes: applied from a file, exported, and their secrets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.client.fake_api import Answer, Call, FakeApi
from tests.integration.client.fake_triggers import DEFAULTS, FakeTriggers
from zentrigger_client.api import Client, ZentriggerError

KEY = "zt_operator_c2VjcmV0LXNlY3JldA"
SECRET = 'whsec_bm90LWEtc2VjcmV0 "quoted" ü'
FILE = """\
triggers:
  arrivals:
    type: s3
    pipeline: p
    prefix: in/
    parameters: {rows: 10, url: "s3://{bucket.name}/{object.key}"}
  after:
    type: run
    on: [succeeded]
    of: {pipeline: first}
    start_at: 2026-01-01T00:00:00Z
"""


def zentrigger(*arguments: str, url: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command; without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "zentrigger_client.cli", *arguments],
        env={**os.environ, "ZENTRIGGER_API_URL": url, "ZENTRIGGER_API_KEY": KEY, "PYTHONIOENCODING": "utf-8"},
        input=stdin or "",
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def triggers(api: FakeApi) -> FakeTriggers:
    """Put triggers behind the API: one that the file changes, and one that it does not have."""
    fake = FakeTriggers({"arrivals": {"type": "s3", "prefix": "in/", "parameters": {"rows": 5}}, "old": {"type": "s3"}})
    api.respond = fake
    return fake


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Give the path of a file of triggers."""
    path = tmp_path / "triggers.yaml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_a_file_is_shown_applied_and_then_changes_nothing(api: FakeApi, triggers: FakeTriggers, file: str) -> None:
    """A dry run writes nothing and says with its status that there is something to do, until it is done."""
    before = dict(triggers.definitions)
    planned = zentrigger("apply", file, "--dry-run", "--exit-code", url=api.url)
    assert planned.returncode == 2, planned.stderr
    assert planned.stdout.splitlines() == [
        "+ after (run, p)",
        '    start_at: "2026-01-01T00:00:00Z"',
        '    type: "run"',
        '    on: ["succeeded"]',
        '    of.pipeline: "first"',
        "",
        "~ arrivals (s3, p)",
        "    parameters.rows: 5 -> 10",
        '    parameters.url: (none) -> "s3://{bucket.name}/{object.key}"',
        "",
        "1 to create, 1 to change, 0 to delete, 0 unchanged.",
    ]
    assert triggers.definitions == before
    applied = zentrigger("apply", file, url=api.url)
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.endswith("0 unchanged.\nApplied.\n")
    assert set(triggers.definitions) == {"after", "arrivals", "old"}
    assert triggers.definitions["after"] == {
        **DEFAULTS, "type": "run", "on": ["succeeded"], "of": {"pipeline": "first"}, "start_at": "2026-01-01T00:00:00Z"
    }  # fmt: skip
    again = zentrigger("apply", file, "--dry-run", "--exit-code", url=api.url)
    assert (again.returncode, again.stdout) == (0, "0 to create, 0 to change, 0 to delete, 2 unchanged.\n")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_is_exported_changes_nothing_when_applied(
    api: FakeApi, triggers: FakeTriggers, tmp_path: Path, form: list[str]
) -> None:
    """All pages of it, as YAML and as JSON, with what YAML 1.1 would read as something else."""
    triggers.definitions |= {
        f"t{number}": {**DEFAULTS, "type": "run", "on": ["failed"], "parameters": {"value": value, "null": None}}
        for number, value in enumerate(["on", "12:30", "1e-3", "2026-01-01", "a\nb: {c}", "ü 😀", 1.5e300, {"no": []}])
    }
    exported = zentrigger("trigger", "export", *form, url=api.url)
    assert exported.returncode == 0, exported.stderr
    path = tmp_path / "exported.yaml"
    path.write_text(exported.stdout, encoding="utf-8")
    applied = zentrigger("apply", str(path), "--prune", "--dry-run", "--exit-code", "--json", url=api.url)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    changes = json.loads(applied.stdout)["changes"]
    assert {(change["name"], change["change"]) for change in changes} == {
        (name, "unchanged") for name in triggers.definitions
    }
    assert "null" not in exported.stdout.replace("'null': null", "").replace('"null": null', "")


def test_pruning_needs_a_yes_where_nobody_can_be_asked(api: FakeApi, triggers: FakeTriggers, file: str) -> None:
    """Nothing is even asked of the API without it; with it the trigger that is not in the file goes."""
    refused = zentrigger("apply", file, "--prune", url=api.url)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert api.calls == []
    applied = zentrigger("apply", "-", "--prune", "--yes", "--json", url=api.url, stdin=FILE)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["written"] is True
    assert "- old (s3, p)" in applied.stderr
    assert set(triggers.definitions) == {"after", "arrivals"}


def test_what_others_made_meanwhile_is_not_pruned(api: FakeApi, triggers: FakeTriggers, file: str) -> None:
    """Between what was shown and what is done: nothing is applied. Run again, it shows that one, too."""

    def meanwhile(call: Call) -> Answer:
        answer = triggers(call)
        if "dry_run=true" in call.path:
            triggers.definitions["new"] = {**DEFAULTS, "type": "webhook"}
        return answer

    api.respond = meanwhile
    refused = zentrigger("apply", file, "--prune", "--yes", url=api.url)
    assert (refused.returncode, "- new" in refused.stdout) == (1, False)
    assert "Run apply again" in refused.stderr
    assert set(triggers.definitions) == {"arrivals", "new", "old"}
    api.respond = triggers
    applied = zentrigger("apply", file, "--prune", "--yes", url=api.url)
    assert (applied.returncode, "- new (webhook, p)" in applied.stdout) == (0, True)
    assert set(triggers.definitions) == {"after", "arrivals"}


def test_what_the_api_refuses_is_shown_by_trigger_with_its_line(
    api: FakeApi, triggers: FakeTriggers, tmp_path: Path
) -> None:
    """Nothing is written; with --json the problem is as the API gave it."""
    path = tmp_path / "t.yaml"
    path.write_text(FILE.replace("rows: 10", "rows: x"), encoding="utf-8")
    refused = zentrigger("apply", str(path), url=api.url)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"{path} is refused, and nothing was written. This is not valid",
        "arrivals",
        f"  {path}:6: /parameters/rows: 'x' is not of type integer",
    ]
    assert triggers.definitions["arrivals"]["parameters"] == {"rows": 5}
    in_json = zentrigger("apply", str(path), "--json", url=api.url)
    assert in_json.returncode == 1
    assert json.loads(in_json.stdout)["errors"][0]["pointer"] == "/triggers/arrivals/parameters/rows"


def test_a_secret_that_is_made_stands_on_stdout_alone(api: FakeApi) -> None:
    """So that it can go on through a pipe; the call is never repeated, for the secret would be lost."""
    api.answers = [
        Answer(200, {"name": "hook", "secret": "whsec_x", "created_at": "", "previous_valid_until": "2026-01-02"}),
        Answer(503),
    ]
    made = zentrigger("trigger", "secret", "hook", url=api.url)
    assert (made.returncode, made.stdout) == (0, "whsec_x\n")
    assert made.stderr == "hook has a new secret, shown this once. The one before stays good until 2026-01-02.\n"
    assert [(call.method, call.path, call.body) for call in api.calls] == [("POST", "/triggers/hook/secret", {})]
    assert zentrigger("trigger", "secret", "hook", url=api.url).returncode == 1
    assert len(api.calls) == 2


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("cited", [SECRET, json.dumps(SECRET), repr(SECRET)])
def test_a_given_secret_is_never_shown(api: FakeApi, cited: str, form: list[str]) -> None:
    """Not even when the API cites it: as it is, as JSON or as Python writes it."""
    problem = {"title": f"No: {cited}", "detail": cited, "errors": [{"pointer": f"/{cited}", "detail": cited}]}
    api.answers = [Answer(422, problem)]
    refused = zentrigger("trigger", "secret", "hook", "--secret-file", "-", *form, url=api.url, stdin=f"{SECRET}\n")
    assert refused.returncode == 1
    assert api.calls[0].body == {"secret": SECRET}
    assert "quoted" not in refused.stdout + refused.stderr
    assert "***" in refused.stdout + refused.stderr


def test_an_error_keeps_nothing_of_a_given_secret(api: FakeApi) -> None:
    """Neither in its fields nor in the error that it came from."""
    api.answers = [Answer(422, {"title": "No", "detail": f"{SECRET} is too short", "given": [{SECRET: 1}]})]
    with Client(api.url, KEY) as client, pytest.raises(ZentriggerError, match=r"No: \*\*\* is too short") as raised:
        client.set_trigger_secret("hook", SECRET)
    assert SECRET not in repr(vars(raised.value))
    assert raised.value.status == 422
    assert (raised.value.__context__, raised.value.__cause__) == (None, None)


def test_each_call_about_triggers(api: FakeApi) -> None:
    """Paths, queries and bodies; what is no filter is not sent; a test is safe to repeat."""
    api.answers = [Answer(503), Answer(200, {})]
    with Client(api.url, KEY, sleep=lambda _: None) as client:
        client.test_trigger("t", {"a": 1})
        client.test_trigger("t", recent=True)
        client.put_triggers({"t": {"type": "s3"}}, prune=True)
        client.put_triggers({}, dry_run=True, plan="0a1b")
        client.triggers(limit=3, cursor="c")
        client.trigger("a b")
        client.receipts("t", outcome="started", limit=3, cursor="c")
        client.receipt("t", "a#b")
        client.unmatched_events(bucket="b", key="in/a b+%.csv")
    assert [(call.method, call.path, call.body) for call in api.calls[1:]] == [
        ("POST", "/triggers/t/test?recent=false", {"event": {"a": 1}}),
        ("POST", "/triggers/t/test?recent=true", {}),
        ("PUT", "/triggers?dry_run=false", {"triggers": {"t": {"type": "s3"}}, "prune": True}),
        ("PUT", "/triggers?dry_run=true", {"triggers": {}, "prune": False, "plan": "0a1b"}),
        ("GET", "/triggers?limit=3&cursor=c", None),
        ("GET", "/triggers/a%20b", None),
        ("GET", "/triggers/t/receipts?outcome=started&limit=3&cursor=c", None),
        ("GET", "/triggers/t/receipts/a%23b", None),
        ("GET", "/events/unmatched?bucket=b&key=in%2Fa+b%2B%25.csv", None),
    ]
