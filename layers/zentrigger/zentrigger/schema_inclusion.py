"""Does one JSON Schema take everything that another takes? Proved, or not: what cannot be shown counts as no.

Both are JSON Schema 2020-12 as `parameters.check_schemas` lets pass. What is known of a value (all that the one schema
says) is split into cases, by the branches of `anyOf` and `oneOf` and by the value's type, until each keyword of the
other schema follows from it. Two schemas that come up again inside themselves are taken to be proved (coinduction):
that is sound because no schema refers to itself without going into a part of the value.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

import jsonschema_rs

from zentrigger.catalogue import JsonSchema
from zentrigger.schema_references import escaped, referred, subschemas

FRACTION: Final = "fraction"
"""A number that is no integer. JSON Schema counts 1.0 among the integers."""

TYPES: Final = ("null", "boolean", "integer", FRACTION, "string", "array", "object")
_NUMBERS = frozenset({"integer", FRACTION})
_FEW: Mapping[str, tuple[Any, ...]] = {"null": (None,), "boolean": (False, True)}
"""All values of the types that have only a few."""

_FORMATS = ("format", "contentEncoding", "contentMediaType")
"""Checked by ZenML's pydantic in the task, though not by a JSON Schema validator."""

ASSERTIONS = frozenset(
    {
        "$ref", "additionalProperties", "allOf", "anyOf", "const", "contains", "contentSchema", "dependencies",
        "dependentRequired", "dependentSchemas", "else", "enum", "exclusiveMaximum", "exclusiveMinimum", "if", "items",
        "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength",
        "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems",
        "properties", "propertyNames", "required", "then", "type", "unevaluatedItems", "unevaluatedProperties",
        "uniqueItems", *_FORMATS,
    }
)  # fmt: skip
"""Keywords that say which values are valid. All others are remarks."""

_UNORDERED = frozenset({"enum", "required", "type"})

_PLAIN = ASSERTIONS - {"$ref"} - {
    "additionalProperties", "allOf", "anyOf", "contains", "contentSchema", "dependentSchemas", "else", "if", "items",
    "not", "oneOf", "patternProperties", "prefixItems", "properties", "propertyNames", "then", "unevaluatedItems",
    "unevaluatedProperties",
}  # fmt: skip
"""Those that hold no schemas; and `dependencies`, which may hold something else, too."""

_MOST_LOOKS = 200_000
"""So many pairs of schemas are looked at before two are called too large to compare: two or three seconds."""

_LONGEST = 300
"""Characters of a reason."""

_DEEPEST = 60
"""So many levels of a value are looked into; enough calls of Python's own limit stay free."""


class At(NamedTuple):
    """A schema, and the whole one that its references are about."""

    whole: JsonSchema
    schema: Any

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from others; not its content."""
        return id(self.whole), id(self.schema)

    @property
    def rules(self) -> Mapping[str, Any]:
        """What a schema says, keyword by keyword: nothing if it is just true or false."""
        return self.schema if isinstance(self.schema, dict) else {}

    def inside(self, schema: Any) -> "At":  # noqa: ANN401 - JSON of any shape
        """Give a schema from inside this one."""
        return At(self.whole, schema)

    def each(self, keyword: str) -> "list[At]":
        """Give the schemas of a keyword that holds a list of them."""
        return [self.inside(schema) for schema in self.rules.get(keyword, ())]

    @property
    def target(self) -> "At | None":
        """What `$ref` points to."""
        return self.inside(referred(self.whole, self.rules["$ref"])) if "$ref" in self.rules else None


@dataclass(frozen=True)
class Gap:
    """Why not: where inside the value, and what is asked there now that was not asked before."""

    text: str
    path: tuple[str, ...] = ()

    def within(self, part: str) -> "Gap":
        """Give the same, seen from further out."""
        return replace(self, path=(part, *self.path))

    def __str__(self) -> str:
        text = f"at {''.join('/' + escaped(part) for part in self.path)}: {self.text}" if self.path else self.text
        return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


class _TooMuchError(Exception):
    """The schemas are too large to be compared."""


_NOTHING = At({}, schema=False)
_TEXT = At({}, {"type": "string"})


def value_key(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give what is equal for values that are equal as JSON Schema has it: 1 is 1.0, and is not true."""
    if isinstance(value, bool) or value is None:
        return (value.__class__, value)  # no JSON has a class in it
    if isinstance(value, Mapping):
        return frozenset((name, value_key(inner)) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(value_key(inner) for inner in value)
    return value


def type_of(value: Any) -> str:  # noqa: ANN401 - JSON of any shape
    """Give the type of a value, as one of TYPES."""
    if isinstance(value, float):
        return "integer" if value.is_integer() else FRACTION
    kinds = {bool: "boolean", int: "integer", str: "string", dict: "object", list: "array", tuple: "array"}
    return kinds.get(type(value), "null")


def own_types(rules: Mapping[str, Any]) -> frozenset[str]:
    """Give the types that a schema's own `type`, `enum` and `const` leave."""
    named = rules.get("type", ["number", *TYPES])
    named = {named} if isinstance(named, str) else set(named)
    types = frozenset(named & set(TYPES) | (_NUMBERS if "number" in named else set()))
    values = own_values(rules)
    return types if values is None else types & {type_of(value) for value in values}


def own_values(rules: Mapping[str, Any]) -> list[Any] | None:
    """Give the values that a schema's own `enum` or `const` leaves; None if it has neither."""
    if "const" in rules:
        return [rules["const"]]
    return rules.get("enum")


@dataclass(frozen=True)
class _Known:
    """What is known of a value: what it fits, what it fits one of at least, and what it does not fit."""

    atoms: tuple[At, ...] = ()
    alternatives: tuple[tuple[bool, tuple[At, ...]], ...] = ()
    """Whether it fits just one, and the schemas."""
    excluded: tuple[At, ...] = ()
    types: frozenset[str] = frozenset(TYPES)

    def plus(self, facts: Iterable[At]) -> "_Known":
        """Give what is known when the value fits these, too."""
        atoms, alternatives, excluded, types = list(self.atoms), list(self.alternatives), [*self.excluded], self.types
        seen = {atom.key for atom in atoms}
        waiting = list(facts)
        while waiting:
            fact = _followed(waiting.pop())
            if fact.schema is False:
                types = frozenset()
            rules = fact.rules
            if not rules or fact.key in seen:
                continue
            seen.add(fact.key)
            atoms.append(fact)
            types &= own_types(rules)
            if (target := fact.target) is not None:
                waiting.append(target)
            waiting += fact.each("allOf")
            alternatives += [
                (keyword == "oneOf", tuple(fact.each(keyword))) for keyword in ("anyOf", "oneOf") if keyword in rules
            ]
            if "not" in rules:
                excluded.append(fact.inside(rules["not"]))
        return _Known(tuple(atoms), tuple(alternatives), tuple(excluded), types)

    def cases(self, look: Callable[[], None]) -> "Iterator[_Case]":
        """Give what can be known for each choice of branches and each type.

        Args:
            look: Called for each choice, as there may be more than anybody wants to wait for.

        """
        look()
        if not self.types:
            return
        if self.alternatives:
            (exclusive, branches), *others = self.alternatives
            for branch in branches:
                rest = tuple(other for other in branches if other is not branch) if exclusive else ()
                known = replace(self, alternatives=tuple(others), excluded=self.excluded + rest)
                yield from known.plus([branch]).cases(look)
            return
        for kind in TYPES:
            case = _Case(self.atoms, self.excluded, kind)
            if kind in self.types and (case.values is None or case.values):
                yield case


@dataclass(frozen=True)
class _Case:
    """What is known of a value of one type."""

    atoms: tuple[At, ...]
    excluded: tuple[At, ...]
    kind: str

    @cached_property
    def values(self) -> list[Any] | None:
        """The values that it can be only, where `enum` or `const` says that."""
        found = [values for atom in self.atoms if (values := own_values(atom.rules)) is not None]
        return [value for value in min(found, key=len) if type_of(value) == self.kind] if found else None

    def all(self, keyword: str) -> list[Any]:
        """Give what is said with a keyword."""
        return [atom.rules[keyword] for atom in self.atoms if keyword in atom.rules]

    def most(self, keyword: str) -> float | None:
        """Give the largest figure that is said with a keyword."""
        return max(self.all(keyword), default=None)

    def least(self, keyword: str) -> float | None:
        """Give the smallest figure that is said with a keyword."""
        return min(self.all(keyword), default=None)

    @cached_property
    def required(self) -> frozenset[str]:
        """Names of properties that an object has."""
        return frozenset(name for names in self.all("required") for name in names)

    @cached_property
    def named(self) -> list[str]:
        """Names of properties of which something is said."""
        return sorted({name for properties in self.all("properties") for name in properties})

    def property(self, name: str) -> tuple[At, ...]:
        """Give what the value of a property fits."""
        return tuple(found for atom in self.atoms for found in property_rules(atom, name))

    def element(self, index: int | None) -> tuple[At, ...]:
        """Give what an element of an array fits; None is one so late that nothing is said of its very place."""
        found = []
        for atom in self.atoms:
            first = atom.rules.get("prefixItems", ())
            if index is not None and index < len(first):
                found.append(atom.inside(first[index]))
            elif "items" in atom.rules:
                found.append(atom.inside(atom.rules["items"]))
        return tuple(found)


def property_rules(at: At, name: str) -> list[At]:
    """Give what a schema's own keywords say of a property's value."""
    rules = at.rules
    found = []
    if name in rules.get("properties", {}):
        found.append(at.inside(rules["properties"][name]))
    found += [at.inside(rule) for pattern, rule in rules.get("patternProperties", {}).items() if _has(pattern, name)]
    if not found and "additionalProperties" in rules:
        found.append(at.inside(rules["additionalProperties"]))
    return found


@lru_cache(maxsize=1000)
def _has(pattern: str, text: str) -> bool:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, offline=True).is_valid(text)


class Inclusion:
    """Compares schemas, and remembers what it has found out, so that a schema referred to often is compared once."""

    def __init__(self) -> None:
        self._looks = 0
        self._proved: dict[Any, None] = {}
        """What is proved, or being proved, by who is asked; in the order of the asking."""
        self._missed: dict[Any, Gap] = {}
        self._same: set[Any] = set()
        self._different: set[Any] = set()
        self._excluding: set[Any] = set()
        self._judges: dict[Any, jsonschema_rs.Draft202012Validator | None] = {}
        self._alive: list[At] = []
        """Schemas are told apart by identity, which Python gives again when one is gone."""

    def gap(self, old: At, new: At) -> Gap | None:
        """Give a reason why `new` may refuse what `old` takes; None if it surely takes it all."""
        self._alive += (old, new)
        proved = len(self._proved)
        try:
            return self._prove((old,), new, 0)
        except (_TooMuchError, RecursionError):
            self._forget(proved)
            self._excluding.clear()
            return Gap("the schemas are too large to be compared")

    # ------------------------------------------------------------------------------------------------ sameness

    def same(self, one: At, other: At) -> bool:
        """Tell whether two schemas say the same in the same way, apart from remarks and the names of definitions."""
        seen: dict[Any, Any] = {}
        """Each pair looked at -> the pair that it was found in."""
        waiting: list[tuple[At, At, Any]] = [(one, other, None)]
        while waiting:
            left, right, around = waiting.pop()
            pair = left.key, right.key
            if pair in seen or pair in self._same or left.key == right.key:
                continue
            self._look()
            seen[pair] = around
            parts = None if pair in self._different else _parts(_followed(left), _followed(right))
            if parts is None:
                while pair is not None:
                    self._different.add(pair)
                    pair = seen[pair]
                return False
            waiting += [(*part, pair) for part in parts]
        self._same.update(seen)
        return True

    def alike(self, one: At, other: At) -> bool:
        """Tell the same; False also if they are too large to be compared."""
        self._alive += (one, other)
        try:
            return self.same(one, other)
        except _TooMuchError:
            return False

    # ----------------------------------------------------------------------------------------------- inclusion

    def _prove(self, facts: tuple[At, ...], goal: At, depth: int) -> Gap | None:
        asked = frozenset(fact.key for fact in facts), goal.key
        if asked in self._proved:
            return None
        if asked in self._missed:
            return self._missed[asked]
        self._look(depth)
        goal = _followed(goal)
        proved = len(self._proved)
        self._proved[asked] = None
        for case in _Known().plus(facts).cases(self._look):
            gap = self._miss(case, goal, depth)
            if gap is not None:
                self._forget(proved)
                self._missed[asked] = gap
                return gap
        return None

    def _forget(self, proved: int) -> None:
        """Take back what was proved since then: it may rest on what has turned out not to be so."""
        while len(self._proved) > proved:
            self._proved.popitem()

    def _look(self, depth: int = 0) -> None:
        self._looks += 1
        if self._looks > _MOST_LOOKS or depth > _DEEPEST:
            raise _TooMuchError

    def _miss(self, case: _Case, goal: At, depth: int) -> Gap | None:
        """Give a reason why a value of the case may not fit the goal."""
        if not goal.rules or any(self.same(atom, goal) for atom in case.atoms):
            return Gap("nothing can be given") if goal.schema is False else None
        if case.kind not in own_types({"type": goal.rules["type"]} if "type" in goal.rules else {}):
            return Gap(f"{_word(case.kind)} can no longer be given")
        if case.values is not None:
            return self._miss_values(case, case.values, goal)
        checks: list[Callable[[_Case, At, int], Gap | None]] = [_miss_values_of, _miss_format, self._miss_combination]
        checks += {
            "integer": [_miss_bounds, _miss_multiple],
            FRACTION: [_miss_bounds, _miss_multiple],
            "string": [_miss_size, _miss_pattern],
            "array": [_miss_size, _miss_uniqueness, self._miss_elements, self._miss_contained],
            "object": [
                self._miss_properties, _miss_required, self._miss_patterned, self._miss_others, self._miss_names,
                self._miss_dependencies, _miss_size,
            ],
        }.get(case.kind, [])  # fmt: skip
        return next((gap for check in checks if (gap := check(case, goal, depth)) is not None), None)

    def _miss_values(self, case: _Case, values: list[Any], goal: At) -> Gap | None:
        judge = self._judge(goal)
        if judge is None:
            return Gap("its references cannot be followed")
        refused = [value for value in values if not judge.is_valid(value) and self._takes(case.atoms, value)]
        if refused:
            shown = ", ".join(repr(value)[:40] for value in refused[:5])
            return Gap(f"{shown}{' …' if len(refused) > 5 else ''} can no longer be given")  # noqa: PLR2004
        return _miss_format(case, goal, 0)

    def _takes(self, atoms: Iterable[At], value: Any) -> bool:  # noqa: ANN401 - JSON of any shape
        return all(judge.is_valid(value) for atom in atoms if (judge := self._judge(atom)) is not None)

    def _judge(self, at: At) -> jsonschema_rs.Draft202012Validator | None:
        """Give a validator of a schema inside another; None if its references would mean something else outside."""
        if at.key not in self._judges:
            definitions, others = _needed(at)
            for _ in definitions:
                self._look()
            self._judges[at.key] = (
                None if others else jsonschema_rs.Draft202012Validator({**at.rules, "$defs": definitions}, offline=True)
            )
        return self._judges[at.key]

    def _miss_combination(self, case: _Case, goal: At, depth: int) -> Gap | None:
        rules, target = goal.rules, goal.target
        for part in [*([] if target is None else [target]), *goal.each("allOf")]:
            if gap := self._miss(case, part, depth):
                return gap
        for keyword in ("anyOf", "oneOf"):
            alone = keyword == "oneOf"
            if keyword in rules and (gap := self._miss_branches(case, goal.each(keyword), depth, alone=alone)):
                return gap
        if "not" in rules and not self._refutes(case, goal.inside(rules["not"]), depth):
            return Gap("what is excluded has changed")
        if {"then", "else"} & set(rules) and not self._kept(case, goal, "if", "then", "else"):
            return Gap("the conditions have changed")
        if not self._kept(case, goal, "contentSchema"):
            return Gap("what its text must hold has changed")
        return None

    def _kept(self, case: _Case, goal: At, *keywords: str) -> bool:
        """Tell whether the keywords say what they said before."""
        return not set(keywords) & set(goal.rules) or any(
            all(
                self.same(atom.inside(atom.rules.get(keyword, True)), goal.inside(goal.rules.get(keyword, True)))
                for keyword in keywords
            )
            for atom in case.atoms
        )

    def _miss_branches(self, case: _Case, branches: list[At], depth: int, *, alone: bool = False) -> Gap | None:
        """Find a branch that takes the case; if it must be alone, all others must refuse it."""
        ordered = sorted(branches, key=lambda branch: not any(self.same(atom, branch) for atom in case.atoms))
        gaps = []
        for branch in ordered:
            gap = self._miss(case, branch, depth)
            if gap is not None:
                if case.kind in possible_types(branch):
                    gaps.append(gap)
            elif not alone or all(self._refutes(case, other, depth) for other in branches if other is not branch):
                return None
            else:
                gaps.append(Gap("more than one of the alternatives may fit, where just one must"))
        if not gaps:
            return Gap(f"{_word(case.kind)} can no longer be given")
        return gaps[0] if len(gaps) == 1 else Gap(f"none of the alternatives surely takes it, e.g. {gaps[0]}")

    def _miss_elements(self, case: _Case, goal: At, depth: int) -> Gap | None:
        rules = goal.rules
        first, most = rules.get("prefixItems", []), _most_items(case)
        named = max([len(first), *(len(prefix) for prefix in case.all("prefixItems"))])
        for index in range(named if most is None else min(named, math.floor(most))):
            rule = first[index] if index < len(first) else rules.get("items", True)
            if gap := self._prove(case.element(index), goal.inside(rule), depth + 1):
                return gap.within(str(index))
        if (most is None or most > named) and (
            gap := self._prove(case.element(None), goal.inside(rules.get("items", True)), depth + 1)
        ):
            return gap.within("*")
        return Gap("what else it may hold has changed") if "unevaluatedItems" in rules else None

    def _miss_contained(self, case: _Case, goal: At, depth: int) -> Gap | None:
        del depth
        rules = goal.rules
        least, most = rules.get("minContains", 1), rules.get("maxContains", math.inf)
        if "contains" not in rules or any(
            "contains" in atom.rules
            and self.same(atom.inside(atom.rules["contains"]), goal.inside(rules["contains"]))
            and atom.rules.get("minContains", 1) >= least
            and atom.rules.get("maxContains", math.inf) <= most
            for atom in case.atoms
        ):
            return None
        return Gap("what it must contain has changed")

    def _miss_properties(self, case: _Case, goal: At, depth: int) -> Gap | None:
        for name, rule in goal.rules.get("properties", {}).items():
            if gap := self._prove(case.property(name), goal.inside(rule), depth + 1):
                return gap.within(name)
        return None

    def _miss_patterned(self, case: _Case, goal: At, depth: int) -> Gap | None:
        for pattern, schema in goal.rules.get("patternProperties", {}).items():
            rule = goal.inside(schema)
            for name in case.named:
                if _has(pattern, name) and (gap := self._prove(case.property(name), rule, depth + 1)):
                    return gap.within(name)
            if gap := self._miss_unnamed(case, rule, depth, matching=pattern):
                return gap.within("*")
        return None

    def _miss_others(self, case: _Case, goal: At, depth: int) -> Gap | None:
        patterns = goal.rules.get("patternProperties", {})
        rule = goal.inside(goal.rules.get("additionalProperties", True))
        for name in case.named:
            if name in goal.rules.get("properties", {}) or any(_has(pattern, name) for pattern in patterns):
                continue
            if gap := self._prove(case.property(name), rule, depth + 1):
                return (Gap("it can no longer be given") if rule.schema is False else gap).within(name)
        if gap := self._miss_unnamed(case, rule, depth, outside=patterns):
            return Gap("other names can no longer be given") if rule.schema is False else gap.within("*")
        return Gap("what else it may hold has changed") if "unevaluatedProperties" in goal.rules else None

    def _miss_unnamed(
        self, case: _Case, goal: At, depth: int, *, matching: str = "", outside: Iterable[str] = ()
    ) -> Gap | None:
        """Compare what is said of properties that the case does not name.

        Args:
            case: What is known of the object.
            goal: What the properties' values have to fit.
            depth: How deep in the value the object is.
            matching: A pattern that their names have.
            outside: Patterns that their names do not have.

        """
        joint, choices = [], []
        for atom in case.atoms:
            patterns = atom.rules.get("patternProperties", {})
            rest = atom.inside(atom.rules.get("additionalProperties", True))
            if matching in patterns:
                joint.append(atom.inside(patterns[matching]))
            elif set(patterns) <= set(outside):
                joint.append(rest)
            else:
                choices.append([rest, *(atom.inside(patterns[name]) for name in set(patterns) - set(outside))])
        gap = self._prove(tuple(joint), goal, depth + 1)
        if gap is None or any(
            all(self._prove((*joint, option), goal, depth + 1) is None for option in options) for options in choices
        ):
            return None
        return gap

    def _miss_names(self, case: _Case, goal: At, depth: int) -> Gap | None:
        if "propertyNames" not in goal.rules:
            return None
        rule = goal.inside(goal.rules["propertyNames"])
        known = [atom.inside(atom.rules["propertyNames"]) for atom in case.atoms if "propertyNames" in atom.rules]
        if self._prove((_TEXT, *known), rule, depth + 1) is None:
            return None
        judge, names = self._judge(rule), _only_names(case)
        if judge is not None and names is not None and all(judge.is_valid(name) for name in names):
            return None
        return Gap("the names that it may hold have changed")

    def _miss_dependencies(self, case: _Case, goal: At, depth: int) -> Gap | None:
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, rule in goal.rules.get(keyword, {}).items():
                if self._prove(case.property(name), _NOTHING, depth + 1) is None:
                    continue  # the object never has it
                known = [
                    (atom, atom.rules[keyword][name]) for atom in case.atoms if name in atom.rules.get(keyword, {})
                ]
                if isinstance(rule, list):
                    asked = {other for _, names in known if isinstance(names, list) for other in names}
                    kept = set(rule) <= case.required | asked
                else:
                    kept = self._miss(case, goal.inside(rule), depth) is None or any(
                        self.same(atom.inside(schema), goal.inside(rule)) for atom, schema in known
                    )
                if not kept:
                    return Gap(f"what must be given with {name!r} has changed")
        return None

    # ----------------------------------------------------------------------------------------------- exclusion

    def _refutes(self, case: _Case, claim: At, depth: int) -> bool:
        """Tell whether surely no value of the case fits the claim."""
        rules = claim.rules
        if not rules or case.kind not in own_types(rules):
            return bool(rules) or claim.schema is False
        if case.values is not None and (judge := self._judge(claim)) is not None:
            return not any(judge.is_valid(value) for value in case.values)
        target = claim.target
        parts = [*([] if target is None else [target]), *claim.each("allOf")]
        branches = [claim.each(keyword) for keyword in ("anyOf", "oneOf") if keyword in rules]
        return (
            any(self._refutes(case, part, depth) for part in parts)
            or any(all(self._refutes(case, branch, depth) for branch in either) for either in branches)
            or (case.kind == "object" and self._misfit(case, claim, depth))
            or any(self._prove((claim, *case.atoms), other, depth + 1) is None for other in case.excluded)
        )

    def _misfit(self, case: _Case, claim: At, depth: int) -> bool:
        """Tell whether there is a property that surely cannot fit both."""
        return any(
            self._excludes(case.property(name), property_rules(claim, name), depth + 1)
            for name in sorted(case.required | set(claim.rules.get("required", ())))
        )

    def _excludes(self, facts: tuple[At, ...], claims: list[At], depth: int) -> bool:
        """Tell whether surely no value fits both the facts and the claims."""
        asked = frozenset(fact.key for fact in facts), frozenset(claim.key for claim in claims)
        if asked in self._excluding:
            return False  # what is asked for inside itself is not shown by itself
        self._look(depth)
        self._excluding.add(asked)
        try:
            return all(
                any(self._refutes(case, claim, depth) for claim in claims)
                for case in _Known().plus(facts).cases(self._look)
            )
        finally:
            self._excluding.discard(asked)


def possible_types(at: At, depth: int = 0) -> frozenset[str]:
    """Give the types that a schema may take, and perhaps more."""
    if at.schema is False:
        return frozenset()
    types = own_types(at.rules)
    if depth > _DEEPEST or not types:
        return types
    target = at.target
    for part in [*([] if target is None else [target]), *at.each("allOf")]:
        types &= possible_types(part, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in at.rules:
            types &= frozenset().union(*(possible_types(branch, depth + 1) for branch in at.each(keyword)))
    return types


def _followed(at: At) -> At:
    """Give what a schema that is nothing but a reference refers to."""
    while "$ref" in at.rules and not any(name in ASSERTIONS and name != "$ref" for name in at.rules):
        at = at.inside(referred(at.whole, at.rules["$ref"]))
    return at


def _parts(one: At, other: At) -> list[tuple[At, At]] | None:
    """Give the schemas that have to be the same for these two to be; None if these differ themselves."""
    left = {name: rule for name, rule in one.rules.items() if name in ASSERTIONS}
    right = {name: rule for name, rule in other.rules.items() if name in ASSERTIONS}
    inner, counterparts = _inner(left), _inner(right)
    if (
        set(left) != set(right)
        or set(inner) != set(counterparts)
        or (one.schema is False) != (other.schema is False)
        or any(_plain(name, rule) != _plain(name, right[name]) for name, rule in left.items() if name in _PLAIN)
    ):
        return None
    pairs = [(one.inside(schema), other.inside(counterparts[pointer])) for pointer, schema in inner.items()]
    if one.target is not None and other.target is not None:
        pairs.append((one.target, other.target))
    return pairs


def _inner(rules: Mapping[str, Any]) -> dict[str, Any]:
    return {pointer: schema for keyword, pointer, schema in subschemas(rules) if keyword not in _PLAIN}


def _plain(keyword: str, rule: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give what is equal for keywords that say the same."""
    if keyword not in _UNORDERED:
        return value_key(rule)
    return frozenset(value_key(part) for part in (rule if isinstance(rule, list) else [rule]))


def _needed(at: At) -> tuple[dict[str, Any], bool]:
    """Give the definitions that a schema refers to, and whether it refers to anything else."""
    known = at.whole.get("$defs")
    known = known if isinstance(known, dict) else {}
    needed: dict[str, Any] = {}
    waiting: list[Any] = [{name: rule for name, rule in at.rules.items() if name != "$defs"}]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            reference = value.get("$ref")
            if isinstance(reference, str):
                name = reference.removeprefix("#/$defs/")
                if name not in known or name == reference:
                    return {}, True
                if name not in needed:
                    needed[name] = known[name]
                    waiting.append(known[name])
        elif isinstance(value, list):
            waiting += value
    return needed, False


def _word(kind: str) -> str:
    return {FRACTION: "a number that is no integer", "null": "null", "boolean": "true or false"}.get(
        kind, f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
    )


# What follows for one keyword at a time. The depth is for those that look into the value.


def _miss_values_of(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    values = own_values(goal.rules)
    if values is None:
        return None
    keys = {value_key(value) for value in values}
    if case.kind in _FEW and all(value_key(value) in keys for value in _FEW[case.kind]):
        return None
    return Gap(f"only {', '.join(repr(value)[:40] for value in values[:5])}{' …' * (len(values) > 5)} can be given")  # noqa: PLR2004


def _miss_format(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    for keyword in _FORMATS:
        asked = goal.rules.get(keyword)
        if asked is not None and case.kind in {"string", *_NUMBERS} and asked not in case.all(keyword):
            return Gap(f"it must be of the {keyword} {asked!r}")
    return None


def _miss_bounds(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    for keyword, sign, strict, said in (
        ("minimum", 1, False, "at least"),
        ("exclusiveMinimum", 1, True, "more than"),
        ("maximum", -1, False, "at most"),
        ("exclusiveMaximum", -1, True, "less than"),
    ):
        if keyword not in goal.rules:
            continue
        asked, bound = sign * goal.rules[keyword], _bound(case, sign)
        if bound is None or not (bound[0] > asked or (bound[0] == asked and (bound[1] or not strict))):
            return Gap(f"it must be {said} {goal.rules[keyword]}")
    return None


def _bound(case: _Case, sign: int) -> tuple[float, bool] | None:
    """Give the lowest that a number can be, or the highest, negated; and whether it is even beyond that."""
    closed, open_ = ("minimum", "exclusiveMinimum") if sign > 0 else ("maximum", "exclusiveMaximum")
    bounds = [(sign * figure, False) for figure in case.all(closed)] + [
        (sign * figure, True) for figure in case.all(open_)
    ]
    if case.kind == "integer":
        bounds = [(math.floor(figure) + 1 if strict else math.ceil(figure), False) for figure, strict in bounds]
    return max(bounds, default=None)


def _miss_multiple(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    asked = goal.rules.get("multipleOf")
    known = [1] if case.kind == "integer" else []
    if asked is None or any(
        figure == asked or (figure == int(figure) and asked == int(asked) and figure % asked == 0)
        for figure in (*known, *case.all("multipleOf"))
    ):
        return None
    return Gap(f"it must be a multiple of {asked}")


def _miss_size(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    noun, said = {
        "string": ("Length", "must have {} {} characters"),
        "array": ("Items", "must have {} {} items"),
        "object": ("Properties", "must have {} {} entries"),
    }[case.kind]
    least, most = case.most(f"min{noun}") or 0, case.least(f"max{noun}")
    if case.kind == "array":
        most = _most_items(case)
    if case.kind == "object":
        least, names = max(least, len(case.required)), _only_names(case)
        bounds = (most, None if names is None else len(names))
        most = min((figure for figure in bounds if figure is not None), default=None)
    if goal.rules.get(f"min{noun}", 0) > least:
        return Gap(f"it {said.format('at least', goal.rules[f'min{noun}'])}")
    if f"max{noun}" in goal.rules and (most is None or goal.rules[f"max{noun}"] < most):
        return Gap(f"it {said.format('at most', goal.rules[f'max{noun}'])}")
    return None


def _most_items(case: _Case) -> float | None:
    closed = [len(atom.rules.get("prefixItems", ())) for atom in case.atoms if atom.rules.get("items") is False]
    return min([*case.all("maxItems"), *closed], default=None)


def _only_names(case: _Case) -> list[str] | None:
    """Give the names of the properties that an object can have only, where that is known."""
    for atom in case.atoms:
        if atom.rules.get("additionalProperties") is False and not atom.rules.get("patternProperties"):
            return list(atom.rules.get("properties", ()))
    return None


def _miss_pattern(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    asked = goal.rules.get("pattern")
    return None if asked is None or asked in case.all("pattern") else Gap(f"it must match {asked!r}")


def _miss_uniqueness(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    most = _most_items(case)
    if not goal.rules.get("uniqueItems") or any(case.all("uniqueItems")) or (most is not None and most <= 1):
        return None
    return Gap("its items must differ")


def _miss_required(case: _Case, goal: At, depth: int) -> Gap | None:
    del depth
    missing = [name for name in goal.rules.get("required", ()) if name not in case.required]
    return Gap(f"{', '.join(map(repr, missing[:5]))} must be given") if missing else None
