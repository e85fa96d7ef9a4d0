"""The file that ``zentrigger apply`` takes and ``zentrigger trigger export`` gives: triggers, by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zentrigger_client.documents import Document, dump, escaped

Json = dict[str, Any]

_HEADER = "# Made by `zentrigger trigger export`; `zentrigger apply` takes it back. Secrets are not in it.\n"
_VALUES = frozenset({"parameters", "steps", "filter"})
"""Fields whose content is the operator's own: null is a value there, and elsewhere the same as nothing."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file, and where."""

    place: str
    detail: str


class TriggerFileError(ValueError):
    """A file holds no triggers; the text has everything that is wrong with it, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{problem.place}: {problem.detail}" for problem in problems))


def triggers_of(document: Document) -> dict[str, Json]:
    """Return the definitions in a document by their triggers' names; what they say is the API's to judge.

    Raises TriggerFileError.
    """
    content = document.content
    if not isinstance(content, dict):
        raise TriggerFileError([Problem(document.place(""), "has to be a mapping with the key triggers")])
    problems = [
        Problem(document.place(f"/{escaped(key)}"), f"unknown key {key!r}; all there may be here is triggers")
        for key in content
        if key != "triggers"
    ]
    found = content.get("triggers")
    if not isinstance(found, dict):
        said = "has to map names to triggers" if "triggers" in content else "the key triggers is missing"
        problems.append(Problem(document.place("/triggers"), f"triggers: {said}" if "triggers" in content else said))
        raise TriggerFileError(problems)
    for name, definition in found.items():
        problems += _problems(document, name, definition)
    if problems:
        raise TriggerFileError(problems)
    return found


def _problems(document: Document, name: str, definition: object) -> Iterable[Problem]:
    pointer = f"/triggers/{escaped(name)}"
    if not isinstance(definition, dict):
        yield Problem(document.place(pointer), f"{name}: a trigger has to be a mapping, with a type and a pipeline")
        return
    # The API knows no such field either; but its answer comes after the secret has left the machine.
    for below, part in (("", definition), ("/signature", definition.get("signature"))):
        if isinstance(part, dict) and "secret" in part:
            yield Problem(
                document.place(f"{pointer}{below}/secret"),
                f"{name}: secrets do not belong in a file; zentrigger trigger secret {name} sets or makes one",
            )


def exported(triggers: Iterable[Mapping[str, Any]]) -> Json:
    """Return triggers as the API shows them as what a file holds."""
    return {"triggers": {trigger["name"]: _given(trigger["definition"]) for trigger in triggers}}


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return the text of a file."""
    return _HEADER + dump(content)


def _given(definition: Mapping[str, Any]) -> Json:
    return {
        name: value if name in _VALUES else _without_nulls(value)
        for name, value in definition.items()
        if value is not None
    }


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value
