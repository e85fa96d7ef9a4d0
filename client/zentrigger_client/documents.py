"""Files that people write: YAML or JSON, read as what JSON can hold, with the line on which each value stands.

YAML is read so that nothing is guessed. A plain scalar that YAML 1.1 and YAML 1.2 read as different values (``yes``,
``010``, ``12:30``) is an error; a time stays the text that it is; a key is always text, so ``on:`` is no boolean; a key
given twice is an error. Tags make no objects. Aliases and ``<<`` work, within bounds.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

STDIN = "-"
MAX_CHARACTERS = 4_000_000
MAX_VALUES = 200_000
"""Aliases count as often as they are used: a few lines of YAML may stand for billions of values."""
MAX_DEPTH = 100
_MAX_CITED = 100

_YAML = "tag:yaml.org,2002:"
_AMBIGUOUS = "tag:zentrigger,2026:ambiguous"
_ODD_BREAKS = re.compile("[\r\x85\u2028\u2029]")
_DIGITS = "0123456789"
_FLOAT = (
    r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+][0-9]+)?",
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",  # refused later: JSON has none of these
)
_READ_DIFFERENTLY = (
    r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF",  # booleans of 1.1, text in 1.2
    r"[-+]?0[0-9]+|0o[0-7]+|0b[01_]+",  # octal in one, decimal or text in the other
    r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9_]*)?",  # 12:30 is 750 in 1.1
    r"[-+]?[0-9]+_[0-9_]*(?:\.[0-9_]*)?",  # 1_000 is text in 1.2
    r"[-+]?(?:[0-9]+|[0-9]*\.[0-9]+|[0-9]+\.)[eE][-+]?[0-9]+",  # 1e-3 is text in 1.1, which wants 1.0e-3
)
_RESOLVED = (
    (f"{_YAML}null", r"~|null|Null|NULL|", "~nN"),
    (f"{_YAML}bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (f"{_YAML}int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", f"-+{_DIGITS}"),
    (f"{_YAML}float", "|".join(_FLOAT), f"-+.{_DIGITS}"),
    (_AMBIGUOUS, "|".join(_READ_DIFFERENTLY), f"yYnNoO-+.{_DIGITS}"),
)
"""What plain scalars are: tag, pattern, first characters. In the core schema of YAML 1.2 (section 10.3.2) but for the
last entry. https://yaml.org/spec/1.2.2/ and https://yaml.org/type/ (1.1)."""


class DocumentError(ValueError):
    """A file cannot be read as what it has to be; the text names file, line where it is known, and what is wrong."""

    def __init__(self, name: str, detail: str, line: int | None = None) -> None:
        self.detail = detail
        self.line = line
        self.place = place(name, line)
        super().__init__(f"{self.place}: {detail}")


@dataclass(frozen=True)
class Document:
    """What a file holds."""

    name: str
    """The file's, for people."""
    content: Any
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    """JSON pointer (RFC 6901) -> line, counted from 1. Empty for JSON."""

    def place(self, pointer: str) -> str:
        """Return ``file:line`` of what a pointer leads to, or of the nearest thing around it that there is."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return place(self.name, self.lines.get(pointer))


def place(name: str, line: int | None) -> str:
    """Return where something stands in a file, as compilers write it."""
    return name if line is None else f"{name}:{line}"


def escaped(name: str) -> str:
    """Return a name as a segment of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def read(path: str) -> Document:
    """Read a file, or standard input for ``-``.

    Raises:
        DocumentError: It cannot be read, is no UTF-8, too large, or neither JSON nor YAML that JSON could hold.

    """
    name = "stdin" if path == STDIN else path
    try:
        # In text mode, and one more than may be: an endless stream ends here, too.
        if path == STDIN:
            text = sys.stdin.read(MAX_CHARACTERS + 1)
        else:
            with Path(path).open(encoding="utf-8") as stream:
                text = stream.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise DocumentError(name, f"cannot be read: {error.strerror or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(name, "is no text in UTF-8") from error
    if len(text) > MAX_CHARACTERS:
        raise DocumentError(name, f"is over {MAX_CHARACTERS} characters long")
    return parse(text.removeprefix("\ufeff"), name)


def parse(text: str, name: str) -> Document:
    """Read a text: as JSON if its name ends so or if it is JSON, otherwise as YAML. Raises DocumentError."""
    try:
        if name.endswith(".json"):
            return Document(name, _json(text, name))
        if text.lstrip().startswith("{"):
            try:
                return Document(name, _json(text, name))
            except json.JSONDecodeError:
                pass  # a mapping in YAML's flow style begins so, too
        return _yaml(text, name)
    except json.JSONDecodeError as error:
        raise DocumentError(name, f"is no JSON: {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise DocumentError(name, "is nested too deeply") from error


# ------------------------------------------------------------------------------------------------------------- JSON


def _json(text: str, name: str) -> object:
    def pairs(found: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in found:
            if key in content:
                raise DocumentError(name, f"the key {key!r} is given twice")
            content[key] = value
        return content

    def number(written: str) -> float:
        try:
            return _finite(written)
        except ValueError as error:
            raise DocumentError(name, f"{written} is no number that JSON can hold") from error

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=number)
    except (json.JSONDecodeError, DocumentError):
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise DocumentError(name, f"holds what JSON cannot: {error}") from error


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(f"{written} is not finite")
    return value


# ------------------------------------------------------------------------------------------------------------- YAML


class _Loader(yaml.SafeLoader):
    """Parses YAML into nodes; of plain scalars it knows what is in `_RESOLVED`, and nothing of what PyYAML does."""


class _Dumper(yaml.SafeDumper):
    """Writes YAML that every reader of 1.1 and 1.2, and `parse`, read alike: what any of them resolves is quoted."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class prescribes it
        """Write out each value where it stands."""
        return True


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Line breaks of YAML that are none in JSON: between single quotes PyYAML would write them as they are, and whoever
    # reads that folds them into spaces.
    style = '"' if _ODD_BREAKS.search(text) else None
    return dumper.represent_scalar(f"{_YAML}str", text, style=style)


_Dumper.add_representer(str, _represent)

_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RESOLVED:
    # The empty scalar has no first character; PyYAML files it under the empty text.
    _firsts = [*_first, ""] if _tag.endswith("null") else list(_first)
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})\\Z"), _firsts)


def dump(content: Mapping[str, Any]) -> str:
    """Return a mapping as YAML in its own order, which `parse` reads as the same."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100)


def _yaml(text: str, name: str) -> Document:
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ": ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(name, f"is no YAML: {said}", mark.line + 1 if mark else None) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise DocumentError(name, f"is no YAML: {error.reason}", line) from error
    if node is None:
        return Document(name, None)
    reader = _NodeReader(name)
    return Document(name, reader.value(node, "", 0), reader.lines)


def _is_left_out(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and not node.value


class _NodeReader:
    """Makes JSON of YAML's nodes and remembers where they stood."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values = 0
        self.lines: dict[str, int] = {}

    def value(self, node: yaml.Node, pointer: str, depth: int) -> Any:  # noqa: ANN401 - JSON of any shape
        """Return what a node stands for. Raises DocumentError for what JSON cannot hold."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(node, f"stands for more than {MAX_VALUES} values; are there aliases of aliases?")
        if depth > MAX_DEPTH:
            raise self._error(node, f"is nested more than {MAX_DEPTH} deep; does an alias hold itself?")
        self.lines.setdefault(pointer, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, pointer, depth)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self.value(item, f"{pointer}/{index}", depth + 1) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node)
        raise self._error(node, f"the tag {node.tag} is not allowed; write plain mappings, lists, text and numbers")

    def _mapping(self, node: yaml.MappingNode, pointer: str, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key has to be text")
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                merged.append(value_node)
                continue
            if key in content:
                raise self._error(key_node, f"the key {key!r} is given twice")
            if node.flow_style and _is_left_out(value_node):
                # A template that was not quoted: {object.key} is short for {object.key: null}.
                raise self._error(node, f"{{{key}}} is a mapping in YAML; write '{{{key}}}' if it is text")
            below = f"{pointer}/{escaped(key)}"
            self.lines.setdefault(below, key_node.start_mark.line + 1)
            content[key] = self.value(value_node, below, depth + 1)
        for source in merged:
            content = {**self._merged(source, pointer, depth + 1), **content}
        return content

    def _merged(self, node: yaml.Node, pointer: str, depth: int) -> dict[str, Any]:
        """Return what ``<<`` brings in: of several mappings, the first that has a key gives its value."""
        content: dict[str, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, "<< takes a mapping or a list of mappings")
            content = {**self.value(source, pointer, depth), **content}
        return content

    def _scalar(self, node: yaml.ScalarNode) -> Any:  # noqa: ANN401 - JSON of any shape
        text = str(node.value)
        try:
            match node.tag.removeprefix(_YAML):
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return int(text, 0)
                case "float":
                    return _finite(text)
        except (ValueError, KeyError) as error:
            shown = text if len(text) <= _MAX_CITED else f"{text[:_MAX_CITED]}…"
            raise self._error(node, f"{shown} is no {node.tag.removeprefix(_YAML)} that JSON can hold") from error
        if node.tag == _AMBIGUOUS:
            raise self._error(
                node,
                f"YAML 1.1 and YAML 1.2 read {text} differently; write '{text}' if it is text, "
                "or else true, false or a decimal number (an exponent as in 1.0e-3)",
            )
        raise self._error(node, f"the tag {node.tag} is not allowed; write plain mappings, lists, text and numbers")

    def _error(self, node: yaml.Node, detail: str) -> DocumentError:
        return DocumentError(self._name, detail, node.start_mark.line + 1)
