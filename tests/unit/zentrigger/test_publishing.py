"""What may be published at all, before anything is read or written."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.factories import MOMENT, TRAINING, content, pipeline, publication
from zentrigger.catalogue import PublishedPipeline, PublishRequest, SnapshotUpdate, split_snapshot_id
from zentrigger.errors import Problem
from zentrigger.pointers import NEWEST, Effects, Move
from zentrigger.publishing import (
    MAX_HISTORY_BYTES,
    MAX_KEPT_TRIGGERS,
    as_listed,
    history_entry,
    uncovered_secrets,
    wrong_passes,
)
from zentrigger.schema_changes import Change

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"


@pytest.mark.parametrize(
    ("reference", "patterns", "covered"),
    [
        ("p/token-AbCdEf", ["p/token-AbCdEf"], True),
        ("p/token-AbCdEf:key::", ["p/token-AbCdEf"], True),
        ("p/token-AbCdEf:key:AWSCURRENT:v1", ["p/*"], True),
        ("p/token-AbCdEf", ["q/*", "p/*"], True),
        ("p/token-AbCdEf", ["*"], True),
        ("p/token-AbCdEf", [], False),
        ("p/token-AbCdEf", ["p/token"], False),
        ("p/token", ["p/token-AbCdEf"], False),
        ("p/token-AbCdEf", ["p/*-AbCdEf"], False),  # an asterisk means something at the end only
        ("p/token-AbCdEf", ["p/tok?n-AbCdEf"], False),
        ("other:key", ["other:key"], False),  # a pattern is of secrets, not of keys in them
    ],
)
def test_a_stack_says_which_secrets_may_be_declared(reference: str, patterns: list[str], covered: bool) -> None:
    """By ARN, without what ECS takes behind it; only a trailing asterisk stands for anything."""
    found = uncovered_secrets({"TOKEN": SECRET + reference}, [SECRET + pattern for pattern in patterns])

    assert (found == []) is covered
    for problem in found:
        assert problem.pointer == "/secrets/TOKEN"
        assert "PipelineSecretArns" in problem.detail
        assert ":key" not in problem.detail


def test_another_account_is_not_covered() -> None:
    """Nor another Region."""
    elsewhere = {"A": SECRET.replace("123456789012", "210987654321") + "p", "B": SECRET.replace("west", "east") + "p"}
    assert [problem.pointer for problem in uncovered_secrets(elsewhere, [SECRET + "*"])] == ["/secrets/A", "/secrets/B"]


def test_what_is_handed_on_is_fixed_and_the_pipelines() -> None:
    """Otherwise a value at the step would become a parameter that is not there."""
    assert wrong_passes(TRAINING) == []
    wrong = content(
        steps={
            "a": {"fixed": ["x"], "passed": {"x": "nothing"}},
            "b~/": {"fixed": [], "passed": {"y": "test_size"}},
        }
    )
    assert [problem.pointer for problem in wrong_passes(wrong)] == ["/steps/a/passed/x", "/steps/b~0~1/passed/y"]
    assert len(wrong_passes(content(parameters_schema={}))) == 2


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"name": "12"}, "name"),
        ({"name": "٣"}, "name"),
        ({"name": "a:1"}, "name"),
        ({"name": "tag:x"}, "name"),
        ({"name": ""}, "name"),
        ({"name": " a"}, "name"),
        ({"tags": ["${HOME}"]}, "tags"),
        ({"tags": ["a"] * 21}, "tags"),
        ({"image": "registry/image:latest"}, "image"),
        ({"image": "registry/image@sha256:abc"}, "image"),
        ({"source": None}, None),
        ({"zenml_snapshot": "6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07"}, None),
        ({"source": None, "zenml_snapshot": "nightly"}, "zenml_snapshot"),
        ({"secrets": {"AWS_ACCESS_KEY_ID": SECRET + "p"}}, None),
        ({"secrets": {"RUN_ID": SECRET + "p"}}, None),
        ({"secrets": {"TOKEN": "hunter2"}}, "secrets"),
        ({"secrets": {"to ken": SECRET + "p"}}, "secrets"),
        ({"resources": {"cpu": 256, "memory": 1536}}, "resources"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_no_request_may_say(values: dict[str, Any], place: str | None) -> None:
    """It is refused when the body is read, and pointed at."""
    with pytest.raises(ValidationError) as caught:
        publication(TRAINING, **values)
    (wrong,) = caught.value.errors()
    assert wrong["loc"][:1] == ((place,) if place else ())


@pytest.mark.parametrize("name", ["production", "Größe 1", "2026-11-21", "v1.2+x", "名前", "1a"])
def test_names_of_snapshots(name: str) -> None:
    """Of any script; a date is no number."""
    assert publication(TRAINING, name=name).name == name
    assert SnapshotUpdate(name=name).name == name


def test_what_makes_a_content() -> None:
    """The order of keys does not count, nor who published it and why; the image does."""
    request = publication(TRAINING, name="n", tags=["t"], description="d", git={"commit": "a" * 40, "dirty": True})
    image = TRAINING.image
    assert request.content(image, "ARM64").content_hash == TRAINING.content_hash
    turned = PublishRequest.model_validate(dict(reversed(request.model_dump().items())))
    assert turned.content(image, "ARM64").content_hash == TRAINING.content_hash
    assert request.content(image.replace("0", "1"), "ARM64").content_hash != TRAINING.content_hash
    assert request.content(image, "X86_64").content_hash != TRAINING.content_hash


BEFORE = PublishedPipeline(pipeline(), None)
AFTER = PublishedPipeline(pipeline(snapshots=2, newest=2, revision=2), None)


@pytest.mark.parametrize("letter", ["x", "\x00", "𠮷", '"'])
@pytest.mark.parametrize("triggers", [0, 7000])
def test_an_entry_of_the_history_is_never_too_large(letter: str, triggers: int) -> None:
    """As it is kept, whatever is in it; and it says how much was left out."""
    change = Change(kind="removed", pointer="/parameters/" + letter * 100, breaking=True, detail=letter * 80)
    changes = tuple(change.model_copy(update={"pointer": f"{change.pointer}{number}"}) for number in range(3000))
    broken = {f"{number:04d}": (Problem("", ""),) for number in range(triggers)}
    found = Effects(((Move(NEWEST, 1, 2), changes),), broken)

    entry = history_entry(BEFORE, AFTER, 2, "published", "k", MOMENT, found)

    size = len(entry.model_dump_json().encode())
    assert MAX_HISTORY_BYTES - 2000 < size <= MAX_HISTORY_BYTES
    assert entry.changes == changes[: len(entry.changes)]
    assert entry.omitted == len(changes) - len(entry.changes)
    assert len(entry.broken_triggers) + entry.omitted_triggers == triggers
    assert len(entry.broken_triggers) <= MAX_KEPT_TRIGGERS


@pytest.mark.parametrize(
    ("count", "listed", "last"), [(1, 1, "/0"), (200, 200, "/199"), (201, 200, ""), (7000, 200, "")]
)
def test_a_refusal_lists_so_many_problems(count: int, listed: int, last: str) -> None:
    """The last one says how many more there are; none is longer than a reader bears."""
    said = as_listed([Problem(f"/{number}", "x" * 5000) for number in range(count)])

    assert (len(said), said[-1].pointer) == (listed, last)
    assert {len(problem.detail) for problem in said[:199]} == {1000}
    if not last:
        assert said[-1].detail == f"And {count - 199} more."


def test_an_id_is_pipeline_and_number() -> None:
    """Of as many digits as a number can have."""
    assert split_snapshot_id("a:b:3") == ("a:b", 3)
    for text in ("a", "a:", ":3", "a:-1", "a:+3", "a:3 ", "a:٣", "a:123456789", "a:" + "9" * 5000):
        assert split_snapshot_id(text) is None, text
