"""What of a pipeline's and its steps' parameters differs between two snapshots, and for whom that is a break.

A change is breaking if a request that `parameters.check` takes for the old snapshot may be refused for the new one.
What cannot be shown to be harmless counts as breaking.
"""

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from zentrigger.catalogue import JsonSchema, SnapshotContent, StepSpec
from zentrigger.runs import Record
from zentrigger.schema_inclusion import ASSERTIONS, FRACTION, At, Inclusion, possible_types, value_key
from zentrigger.schema_references import escaped

Kind = Literal[
    "added", "removed", "renamed", "required", "optional", "narrowed", "widened", "retyped", "default", "step_added",
    "step_removed", "fixed", "freed",
]  # fmt: skip

_OUTSIDE: Final = frozenset({"properties", "required", "additionalProperties", "unevaluatedProperties"})
"""Keywords of a schema of parameters that are compared by name, or say nothing: unknown names are always refused."""

_SHOWN = 80
_CLOSE = 0.6
"""Likeness of two names, from 0 to 1, from which on the one may be the other, misspelt or made clearer (difflib)."""

_MOST_PAIRS = 2_500
"""Where there is more to pair, nothing is said of renaming: who changes so much knows."""


class Change(Record):
    """One thing that differs, for whoever calls the pipeline."""

    kind: Kind
    pointer: str
    """JSON pointer into a request of the old snapshot, or of the new one for what is new."""
    breaking: bool
    detail: str


@dataclass(frozen=True)
class _Parameter:
    """A parameter that a request may give."""

    rule: At
    required: bool = False
    goes_to: str | None = None
    """The pipeline's parameter that a step's parameter sets; None: it is the step's own."""


class _Comparison:
    """Two snapshots' contents, and what has been found out about their schemas."""

    def __init__(self, old: SnapshotContent, new: SnapshotContent) -> None:
        self.old, self.new = old, new
        self.old_ways, self.new_ways = _ways(old), _ways(new)
        self.inclusion = Inclusion()


def compare(old: SnapshotContent, new: SnapshotContent) -> tuple[Change, ...]:
    """Give what changes for callers who get the new snapshot instead of the old one, breaking changes first.

    Steps' parameters are never required: a request may leave out each of them. The schemas are such as
    `parameters.check_schemas` lets pass.
    """
    comparison = _Comparison(old, new)
    changes = [*_of_pipeline(comparison), *_of_steps(comparison)]
    return tuple(sorted(changes, key=lambda change: (not change.breaking, change.pointer, change.kind)))


def _of_pipeline(comparison: _Comparison) -> Iterator[Change]:
    old, new = comparison.old.parameters_schema, comparison.new.parameters_schema
    if _text(old) != _text(new):
        yield from _by_name(comparison.inclusion, _parameters(old), _parameters(new), "/parameters", "")
        for name in sorted(_impossible(new) - _impossible(old)):
            detail = f"{name!r} must be given now, and there is no such parameter."
            yield Change(kind="required", pointer=f"/parameters/{escaped(name)}", breaking=True, detail=detail)
    same_names = comparison.old_ways == comparison.new_ways
    yield from _of_the_rest(comparison.inclusion, old, new, "/parameters", same_names=same_names)


def _of_steps(comparison: _Comparison) -> Iterator[Change]:
    old, new = _steps(comparison.old), _steps(comparison.new)
    for name in sorted({*old, *new}):
        pointer = f"/steps/{escaped(name)}"
        if name not in old:
            yield Change(kind="step_added", pointer=pointer, breaking=False, detail=f"The step {name!r} is new.")
        elif name in new:
            yield from _of_step(comparison, name)
        else:
            gone = (
                f"The pipeline is dynamic now, so its step {name!r} takes no parameters from outside."
                if comparison.new.dynamic
                else f"There is no step {name!r} any more."
            )
            yield Change(kind="step_removed", pointer=pointer, breaking=True, detail=gone)


def _of_step(comparison: _Comparison, name: str) -> Iterator[Change]:
    old, new = comparison.old.steps[name], comparison.new.steps[name]
    pointer, owner = f"/steps/{escaped(name)}/parameters", f" of step {name!r}"
    before, after = _settable(comparison.old, old), _settable(comparison.new, new)
    for parameter in sorted(before):
        place = f"{pointer}/{escaped(parameter)}"
        if parameter in after:
            broken = _broken_way(comparison, name, parameter, before[parameter], after[parameter])
            to, was = after[parameter].goes_to, before[parameter].goes_to
            if broken is not None or to != was:
                yield Change(
                    kind="fixed" if to is not None else "freed",
                    pointer=place,
                    breaking=broken is not None,
                    detail=f"{parameter!r}{owner} {_said_way(was, to)}{'' if broken is None else f': {broken}'}.",
                )
            if to is not None and to == was:
                del before[parameter], after[parameter]  # it is compared where it goes to
        elif parameter in _set_inside(new):
            detail = f"The pipeline's code sets {parameter!r}{owner} itself now, so it can no longer be given."
            yield Change(kind="fixed", pointer=place, breaking=True, detail=detail)
            del before[parameter]
    for parameter in sorted(set(after) & _set_inside(old) - set(before)):
        detail = f"{parameter!r}{owner} can be given now; before, the pipeline's code set it."
        yield Change(kind="freed", pointer=f"{pointer}/{escaped(parameter)}", breaking=False, detail=detail)
        del after[parameter]
    yield from _by_name(comparison.inclusion, before, after, pointer, owner)
    own = {key for key, value in before.items() if value.goes_to is None}
    same_names = own == {key for key, value in after.items() if value.goes_to is None and key in before}
    yield from _of_the_rest(
        comparison.inclusion, old.parameters_schema, new.parameters_schema, pointer, same_names=same_names
    )


# ------------------------------------------------------------------------------------------------- what may be given


def _steps(content: SnapshotContent) -> Mapping[str, StepSpec]:
    return {} if content.dynamic else content.steps


def _properties(schema: JsonSchema) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: JsonSchema) -> frozenset[str]:
    names = schema.get("required")
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def _impossible(schema: JsonSchema) -> frozenset[str]:
    """Give what must be given and cannot be."""
    return _required(schema) - set(_properties(schema))


def _parameters(schema: JsonSchema) -> dict[str, _Parameter]:
    required = _required(schema)
    return {name: _Parameter(At(schema, rule), name in required) for name, rule in _properties(schema).items()}


def _settable(content: SnapshotContent, step: StepSpec) -> dict[str, _Parameter]:
    """Give the parameters that a request may give at a step."""
    whole, own = content.parameters_schema, step.parameters_schema
    free = {name: _Parameter(At(own, rule)) for name, rule in _properties(own).items() if name not in _set_inside(step)}
    targets = _properties(whole)
    return free | {
        name: _Parameter(At(whole, targets[target]), goes_to=target)
        for name, target in step.passed.items()
        if target in targets
    }


def _set_inside(step: StepSpec) -> frozenset[str]:
    return frozenset({*step.fixed, *step.passed})


def _ways(content: SnapshotContent) -> dict[str, set[tuple[str, str]]]:
    """Give, for each of the pipeline's parameters, the steps' parameters that set it: pairs of step and name."""
    ways: dict[str, set[tuple[str, str]]] = {}
    for step, spec in _steps(content).items():
        for name, parameter in _settable(content, spec).items():
            if parameter.goes_to is not None:
                ways.setdefault(parameter.goes_to, set()).add((step, name))
    return ways


def _broken_way(
    comparison: _Comparison, step: str, parameter: str, before: _Parameter, after: _Parameter
) -> str | None:
    """Say why a step's parameter is not taken under all circumstances in which it was; None if it is.

    The steps' parameters that set one of the pipeline's have to agree, and to be given all or not at all unless the
    pipeline's is given itself.
    """
    old_ways, new_ways = comparison.old_ways, comparison.new_ways
    was, to = before.goes_to, after.goes_to
    if to is not None:
        together = new_ways[to] - (old_ways[to] if to == was else {(step, parameter)})
        if together:
            listed = ", ".join(
                f"/steps/{escaped(other)}/parameters/{escaped(name)}" for other, name in sorted(together)
            )
            return f"it is taken only with the same value at {listed}"
        if to != was and to in _properties(comparison.old.parameters_schema):
            return f"a request that gives {to!r} another value is refused"
    if was is not None and was != to and was in _required(comparison.new.parameters_schema):
        kept = new_ways.get(was, set()) & old_ways[was]
        if not kept:
            return f"{was!r} must be given under `parameters`"
    return None


def _said_way(was: str | None, to: str | None) -> str:
    if to is None:
        return f"is the step's own now and no longer sets the pipeline's parameter {was!r}"
    return f"{'sets' if to == was else 'now sets'} the pipeline's parameter {to!r}"


# --------------------------------------------------------------------------------------------- parameters by name


def _by_name(
    inclusion: Inclusion, before: Mapping[str, _Parameter], after: Mapping[str, _Parameter], base: str, owner: str
) -> Iterator[Change]:
    renamed = _renamed(before, after)
    for name, parameter in before.items():
        pointer, whose = f"{base}/{escaped(name)}", f"{name!r}{owner}"
        if name in after:
            yield from _of_parameter(inclusion, parameter, after[name], pointer, whose)
        elif name in renamed:
            detail = f"{whose} is gone; {renamed[name]!r} is new and takes the same values, so it is probably that one."
            yield Change(kind="renamed", pointer=pointer, breaking=True, detail=detail)
        else:
            yield Change(kind="removed", pointer=pointer, breaking=True, detail=f"{whose} is gone.")
    for name in after.keys() - before.keys() - set(renamed.values()):
        pointer, whose = f"{base}/{escaped(name)}", f"{name!r}{owner}"
        if after[name].required:
            detail = f"{whose} is new and must be given."
            yield Change(kind="required", pointer=pointer, breaking=True, detail=detail)
        else:
            yield Change(kind="added", pointer=pointer, breaking=False, detail=f"{whose} is new and may be left out.")


def _of_parameter(
    inclusion: Inclusion, before: _Parameter, after: _Parameter, pointer: str, whose: str
) -> Iterator[Change]:
    if after.required and not before.required:
        yield Change(kind="required", pointer=pointer, breaking=True, detail=f"{whose} must be given now.")
    elif before.required and not after.required:
        yield Change(kind="optional", pointer=pointer, breaking=False, detail=f"{whose} may be left out now.")
    gap = inclusion.gap(before.rule, after.rule)
    was, now = possible_types(before.rule), possible_types(after.rule)
    if gap is not None and was and now and not was & now:
        detail = f"{whose} takes {_listed(now)} now, and no longer {_listed(was)}."
        yield Change(kind="retyped", pointer=pointer, breaking=True, detail=detail)
    elif gap is not None:
        detail = f"{whose} may refuse what it took before: {gap}."
        yield Change(kind="narrowed", pointer=pointer, breaking=True, detail=detail)
    elif inclusion.gap(after.rule, before.rule) is not None:
        shown, shown_before = _shown(after.rule), _shown(before.rule)
        said = f": {shown}; it was {shown_before}" if shown != shown_before else ""
        detail = f"{whose} takes more than before{said}."
        yield Change(kind="widened", pointer=pointer, breaking=False, detail=detail)
    if before.goes_to is None and after.goes_to is None and before.required == after.required:
        yield from _of_default(before.rule, after.rule, pointer, whose)


def _of_default(before: At, after: At, pointer: str, whose: str) -> Iterator[Change]:
    was, now = ([at.rules["default"]] if "default" in at.rules else [] for at in (before, after))
    if value_key(was) == value_key(now):
        return
    said = f"The default of {whose} is {_short(now[0])}" if now else f"{whose} has no default any more"
    detail = f"{said}; it was {_short(was[0])}." if was else f"{said}; it had none."
    yield Change(kind="default", pointer=pointer, breaking=False, detail=detail)


def _renamed(before: Mapping[str, _Parameter], after: Mapping[str, _Parameter]) -> dict[str, str]:
    """Pair what is gone with what is new: what can be no other, then what is called most alike."""
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    if len(gone) * len(new) > _MOST_PAIRS:
        return {}
    inclusion = Inclusion()
    pairs = [
        (old, name)
        for old in gone
        for name in new
        if before[old].goes_to == after[name].goes_to and inclusion.alike(before[old].rule, after[name].rule)
    ]
    ranked, often = [], Counter(name for pair in pairs for name in pair)
    for old, name in pairs:
        alone = often[old] == often[name] == 1
        closeness = difflib.SequenceMatcher(None, old, name).ratio()
        if alone or closeness >= _CLOSE:
            ranked.append((alone, closeness, old, name))
    found: dict[str, str] = {}
    for _, _, old, name in sorted(ranked, reverse=True):
        if old not in found and name not in found.values():
            found[old] = name
    return found


def _of_the_rest(
    inclusion: Inclusion, old: JsonSchema, new: JsonSchema, pointer: str, *, same_names: bool
) -> Iterator[Change]:
    """Compare what schemas say of all parameters together; usually nothing."""
    rest = {name: rule for name, rule in new.items() if name in ASSERTIONS and name not in _OUTSIDE}
    if rest.get("type") == "object":
        del rest["type"]
    if not rest or (same_names and _text(old) == _text(new)):
        return
    known: dict[str, Any] = {name: rule for name, rule in old.items() if name != "required"}
    known |= {"type": "object", "additionalProperties": False}
    gap = inclusion.gap(At(old, known), At(new, rest))
    if gap is not None or not same_names:
        detail = f"The parameters together may be refused where they were not: {gap or 'other ones count'}."
        yield Change(kind="narrowed", pointer=pointer, breaking=True, detail=detail)


# ------------------------------------------------------------------------------------------------------- wording


def _text(schema: JsonSchema) -> str:
    return json.dumps(schema, sort_keys=True)


def _short(value: Any) -> str:  # noqa: ANN401 - JSON of any shape
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"


def _shown(rule: At) -> str:
    return _short({name: value for name, value in rule.rules.items() if name in ASSERTIONS})


def _listed(types: Iterable[str]) -> str:
    names = set(types)
    if FRACTION in names:
        names = names - {FRACTION, "integer"} | {"number"}
    return " or ".join(sorted(names))
