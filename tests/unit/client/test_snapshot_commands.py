"""The commands about what is published."""

from typing import Any

import pytest

from tests import factories
from tests.unit.client.conftest import ENVIRONMENT, FakeClient, cells
from zentrigger import views
from zentrigger.catalogue import PublishedPipeline
from zentrigger.discovery import Found
from zentrigger.pointers import HistoryEntry
from zentrigger.publishing import Publication
from zentrigger.schema_changes import Change
from zentrigger.track_record import TrackRecord
from zentrigger_client import cli
from zentrigger_client.api import ZentriggerError

# What the API shows is made by the API's own code, so that the two sides cannot drift apart.
SNAPSHOT = factories.snapshot(
    factories.content(image="runner@sha256:" + "0123456789ab" + "c" * 52),
    3,
    name="production",
    tags=["a", "b"],
    description="Trains.\n\nOn data.",
    git={"commit": "f" * 40, "dirty": True},
)
PIPELINE = factories.pipeline(snapshots=3, newest=3)
RUNS = TrackRecord(last=factories.run(), succeeded=2, ended=3, looked_at=4)
NO_RUNS = TrackRecord(last=None, succeeded=0, ended=0, looked_at=0)
REMOVED = Change(kind="step_removed", pointer="/steps/train", breaking=True, detail="train is gone")


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (
            ["pipelines", "--name", "training", "--tag", "a", "--limit", "3", "--cursor", "c"],
            ("pipelines", (), {"name": "training", "tag": "a", "limit": 3, "cursor": "c"}),
        ),
        (
            ["snapshots", "list", "training", "--name", "n", "--tag", "a", "--limit", "3", "--cursor", "c"],
            ("snapshots", ("training",), {"name": "n", "tag": "a", "limit": 3, "cursor": "c"}),
        ),
        (["snapshots", "show", "training:3"], ("snapshot", ("training:3",), {})),
        (["snapshots", "delete", "training:3"], ("delete_snapshot", ("training:3",), {})),
        (
            ["snapshots", "update", "training:3", "--name", "n", "--replace", "--description", "", "--tag", "a"],
            ("update_snapshot", ("training:3", {"name": "n", "replace": True, "description": "", "tags": ["a"]}), {}),
        ),
        (
            ["snapshots", "update", "training:3", "--no-name", "--no-tags", "--allow-breaking"],
            ("update_snapshot", ("training:3", {"name": None, "tags": [], "allow_breaking": True}), {}),
        ),
        (
            ["changes", "training", "--limit", "3", "--cursor", "c"],
            ("changes", ("training",), {"limit": 3, "cursor": "c"}),
        ),
    ],
)
def test_each_command_is_one_call(
    client: FakeClient, arguments: list[str], call: tuple[str, tuple[Any, ...], dict[str, Any]]
) -> None:
    client.answers = {name: {"items": [], "next": None} for name in ("pipelines", "snapshots", "changes")}
    updated = views.publication_view(Publication(SNAPSHOT.summary, newest=True))
    client.answers |= {"snapshot": {}, "update_snapshot": updated, "delete_snapshot": None}
    assert cli.main(arguments, ENVIRONMENT) == 0
    assert client.calls == [call]


def test_lists_snapshots(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What one is chosen by, where it comes from, and how it fares; a page that goes on says how."""
    bare = factories.snapshot(number=2).summary
    shown = [Found(SNAPSHOT.summary, PIPELINE, RUNS), Found(bare, PIPELINE, NO_RUNS)]
    client.answers["snapshots"] = views.page([views.snapshot_in_list(found) for found in shown], "c2")
    assert cli.main(["snapshots", "list", "training_pipeline"], ENVIRONMENT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[1]) == [
        "training_pipeline:3", "production", "a, b", "newest", "0123456789ab", "ffffffffffff (dirty)",
        "2026-11-20T12:00:00.000000Z", "tests", "queued", "67 %", "Trains.",
    ]  # fmt: skip
    assert cells(lines[2]) == ["training_pipeline:2", "000000000000", "2026-11-20T12:00:00.000000Z", "tests"]
    assert lines[3] == "more: --cursor c2"


def test_lists_pipelines(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one whose snapshots were all deleted."""
    gone = factories.pipeline(name="gone", newest=None)
    shown = [
        Found(PublishedPipeline(PIPELINE, SNAPSHOT.summary), PIPELINE, RUNS),
        Found(PublishedPipeline(gone, None), gone, NO_RUNS),
    ]
    client.answers["pipelines"] = views.page([views.pipeline_summary(found) for found in shown], None)
    assert cli.main(["pipelines"], ENVIRONMENT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[1]) == [
        "training_pipeline", "training_pipeline:3", "production", "a, b", "queued", "67 %", "Trains.",
    ]  # fmt: skip
    assert lines[2] == "gone"


def history_entry(**values: Any) -> HistoryEntry:
    entry = {"revision": 4, "at": factories.MOMENT, "by": "tests", "action": "published", "snapshot": 3, "newest": 3}
    return HistoryEntry.model_validate({**entry, "previous": 2, "write": "w", **values})


def test_shows_what_publications_changed(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """And what became the newest where it is not what was published."""
    entries = [
        history_entry(action="deleted", newest=2),
        history_entry(
            action="published_again", changes=(REMOVED,), omitted=7, broken_triggers=("arrivals",), omitted_triggers=2
        ),
        history_entry(
            action="updated",
            moved=(
                {"choice": "production", "before": 2, "after": 3},
                {"choice": "tag:a", "before": None, "after": 3},
                {"choice": "b", "before": 3, "after": None},
            ),
        ),
    ]
    shown = [views.history_view("training_pipeline", entry) for entry in entries]
    client.answers["changes"] = views.page(shown, None)
    assert cli.main(["changes", "training_pipeline"], ENVIRONMENT) == 0
    at = "2026-11-20T12:00:00.000000Z"
    assert capsys.readouterr().out.splitlines() == [
        f"{at}  training_pipeline:3  deleted by tests; the newest is training_pipeline:2",
        f"{at}  training_pipeline:3  published again by tests",
        "  step removed /steps/train (breaking): train is gone",
        "  triggers that no longer fit: arrivals",
        "  and 2 more triggers, which are not kept",
        "  and 7 more changes, which are not kept",
        f"{at}  training_pipeline:3  updated by tests",
        "  production: training_pipeline:2 -> training_pipeline:3",
        "  tag:a: none -> training_pipeline:3",
        "  b: training_pipeline:3 -> none",
    ]


def test_an_update_shows_what_it_moved(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    moved = Publication(SNAPSHOT.summary, newest=True, changes=(REMOVED,), broken_names=("production",))
    client.answers["update_snapshot"] = views.publication_view(moved)
    assert cli.main(["snapshots", "update", "training_pipeline:3", "--name", "production"], ENVIRONMENT) == 0
    assert capsys.readouterr().out.splitlines() == [
        "training_pipeline:3, name 'production', tags a, b",
        "step removed /steps/train (breaking): train is gone",
        "names that have these changes now: production",
    ]


@pytest.mark.parametrize(
    ("arguments", "name", "advised"),
    [
        (["snapshots", "delete", "training:3"], "delete_snapshot", False),
        (["snapshots", "update", "training:3", "--name", "n"], "update_snapshot", True),
    ],
)
def test_a_conflict_lists_what_stands_in_the_way(
    client: FakeClient, capsys: pytest.CaptureFixture[str], arguments: list[str], name: str, *, advised: bool
) -> None:
    """Only a command that has the option is told of it."""
    errors = [{"pointer": "/triggers/arrivals", "detail": "The trigger 'arrivals' runs it."}]
    client.answers[name] = ZentriggerError("This cannot be done now", status=409, errors=errors)
    assert cli.main(arguments, ENVIRONMENT) == 1
    error = capsys.readouterr().err
    assert "  /triggers/arrivals: The trigger 'arrivals' runs it.\n" in error
    assert ("--allow-breaking" in error) is advised
