"""The file of triggers: what may stand in it, and how triggers become one."""

from typing import Any

import pytest

from zentrigger_client.documents import parse
from zentrigger_client.trigger_file import TriggerFileError, exported, to_yaml, triggers_of


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["t.yaml: has to be a mapping with the key triggers"]),
        ("- a\n", ["t.yaml:1: has to be a mapping with the key triggers"]),
        ("{}\n", ["t.yaml: the key triggers is missing"]),
        ("triggers:\n", ["t.yaml:1: triggers: has to map names to triggers"]),
        ("triggers: [a]\n", ["t.yaml:1: triggers: has to map names to triggers"]),
        (
            "version: 1\ntriggers:\n  a: 3\n  b:\n  c: {type: s3}\nsecrets: {}\n",
            [
                "t.yaml:1: unknown key 'version'; all there may be here is triggers",
                "t.yaml:6: unknown key 'secrets'; all there may be here is triggers",
                "t.yaml:3: a: a trigger has to be a mapping, with a type and a pipeline",
                "t.yaml:4: b: a trigger has to be a mapping, with a type and a pipeline",
            ],
        ),
    ],
)
def test_everything_that_is_wrong_is_said_at_once(text: str, problems: list[str]) -> None:
    """An empty `triggers:` is a mistake: with --prune it would mean to delete all. `{}` says so."""
    with pytest.raises(TriggerFileError) as raised:
        triggers_of(parse(text, "t.yaml"))
    assert str(raised.value).splitlines() == problems


@pytest.mark.parametrize("where", ["secret: hunter2", "signature: {scheme: github, secret: hunter2}"])
def test_a_secret_in_a_file_is_refused_before_it_is_sent_and_not_cited(where: str) -> None:
    """The command that is for secrets is named instead."""
    with pytest.raises(TriggerFileError, match=r"t\.yaml:4: hook: .* zentrigger trigger secret hook") as raised:
        triggers_of(parse(f"triggers:\n  hook:\n    type: webhook\n    {where}\n", "t.yaml"))
    assert "hunter2" not in str(raised.value)


def test_no_triggers_are_triggers_too() -> None:
    assert triggers_of(parse("triggers: {}", "t.yaml")) == {}


def test_an_export_holds_what_was_said_and_nothing_else() -> None:
    """Null is nothing, but in an operator's own values; it is read back as what it was."""
    definition: dict[str, Any] = {
        "type": "webhook",
        "pipeline": "p",
        "snapshot": None,
        "signature": {"scheme": "github", "header": None},
        "filter": {"body.ref": [None, "on"]},
        "parameters": {"none": None},
        "tags": [],
    }
    content = exported([{"name": "hook", "definition": definition, "counts": {"started": 3}}])
    expected = {**definition, "signature": {"scheme": "github"}}
    del expected["snapshot"]
    assert content == {"triggers": {"hook": expected}}
    text = to_yaml(content)
    assert text.startswith("# Made by `zentrigger trigger export`")
    assert triggers_of(parse(text, "t.yaml")) == content["triggers"]
