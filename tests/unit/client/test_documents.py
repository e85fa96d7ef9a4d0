"""Files of people: YAML and JSON, read as what JSON can hold."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from zentrigger_client import documents
from zentrigger_client.documents import DocumentError, dump, parse, read

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
WORDS = "yes no on off y n true null ~ 010 0o17 0x1F 0b1 1_000 12:30 1e-3 1.5e3 .5 5. .inf 2026-01-01 << = - * & ! {a}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01"),
        ("cron(0 6 * * ? *)", "cron(0 6 * * ? *)"),
        ("'{object.key}'", "{object.key}"),
        ("s3://{bucket.name}/{object.key}", "s3://{bucket.name}/{object.key}"),
        ("'yes'", "yes"),
        ("true", True),
        ("-3", -3),
        ("0x1F", 31),
        ("1.0e-3", 0.001),
        ("1.5", 1.5),
        ("", None),
        ("~", None),
        ("1.2.3", "1.2.3"),
        ("!!str 12", "12"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_a_value_is_what_it_looks_like(written: str, expected: object) -> None:
    """A time stays text, as RFC 3339 wants it in the API."""
    value = parse(f"on: {written}", "t.yaml").content["on"]
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    "written",
    ["yes", "No", "ON", "off", "010", "-07", "0o17", "0b11", "1_000", "12:30", "1:2:3.5", "1e3", "1e-3", "1.5e3"],
)
def test_what_versions_of_yaml_read_differently_is_refused(written: str) -> None:
    """`no` is the text of a country for one reader and false for another: nobody guesses."""
    with pytest.raises(DocumentError, match=r"^t.yaml:2: YAML 1\.1 and YAML 1\.2 read") as raised:
        parse(f"a: 1\nb: {written}\n", "t.yaml")
    assert f"'{written}' if it is text" in str(raised.value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "t.yaml:3: the key 'a' is given twice"),
        ("a:\n  - {b: 1,\n     b: 2}\n", "t.yaml:3: the key 'b' is given twice"),
        ("a: 1\nb: !!python/object/apply:os.system [x]\n", "t.yaml:2: the tag tag:yaml.org,2002:python/"),
        ("a: !!timestamp 2026-01-01\n", "t.yaml:1: the tag"),
        ("a: !!binary aGk=\n", "t.yaml:1: the tag"),
        ("a: !!set {b: null}\n", "t.yaml:1: the tag"),
        ("a: !!bool maybe\n", "t.yaml:1: maybe is no bool"),
        ("a: .inf\n", "t.yaml:1: .inf is no float"),
        ("a: 1.0e+999\n", "t.yaml:1: 1.0e+999 is no float"),
        (f"a: {'9' * 5000}\n", "t.yaml:1: 999"),
        ("a: [1,\n2\n", "t.yaml:3: is no YAML: while parsing a flow sequence"),
        ("a: *.csv\n", "t.yaml:1: is no YAML: while scanning an alias"),
        ("a: *b\n", "t.yaml:1: is no YAML: found undefined alias 'b'"),
        ("a:\n  b: {object.key}\n", "t.yaml:2: {object.key} is a mapping in YAML; write '{object.key}'"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2: is no YAML: expected a single document"),
        ("? [a]\n: 1\n", "t.yaml:1: a key has to be text"),
        ("a: 1\nb: \x07\n", "t.yaml:2: is no YAML: special characters"),
        ("<<: 3\n", "t.yaml:1: << takes a mapping"),
        ("a: &a [*a]\n", "t.yaml:1: is nested more than 100 deep"),
        ("a: &a {<<: [*a, *a]}\n", "t.yaml:1: is nested more than 100 deep"),
        (BOMB, "t.yaml:1: stands for more than 200000 values"),
        ("[" * 5000, "t.yaml: is nested too deeply"),
        ('{"a":' * 100_000, "t.yaml: is nested too deeply"),
        ('{"a": {"b": 1, "b": 2}}', "t.yaml: the key 'b' is given twice"),
        ('{"a": NaN}', "t.yaml: NaN is no number"),
        ('{"a": 1e999}', "t.yaml: 1e999 is no number"),
        (f'{{"a": {"9" * 5000}}}', "t.yaml: holds what JSON cannot"),
    ],
)
def test_an_error_names_file_line_and_what_is_wrong(text: str, expected: str) -> None:
    """The line where it is known. No objects are made of tags, and a short file cannot fill the memory."""
    with pytest.raises(DocumentError) as raised:
        parse(text, "t.yaml")
    assert str(raised.value).startswith(expected)


def test_a_json_file_is_json_alone() -> None:
    """What YAML would forgive is an error there, with its line; anywhere else JSON is read if it is JSON."""
    with pytest.raises(DocumentError, match=r"^t\.json:2: is no JSON: "):
        parse('{"a": 1,\n}', "t.json")
    assert parse('{"a": 1,\n}', "stdin").content == {"a": 1}
    assert parse('{"a":\t1e-3}', "stdin").content == {"a": 0.001}


def test_aliases_and_merges_bring_in_what_stands_elsewhere() -> None:
    """What is written beside a merge wins, then the first of several."""
    document = parse("a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\nc: {<<: [{p: 9}, *a]}\nd: *a\n'<<': 4\n", "t.yaml")
    one = {"p": 1, "q": 2}
    assert document.content == {"a": one, "b": {"p": 1, "q": 3}, "c": {"p": 9, "q": 2}, "d": one, "<<": 4}


def test_a_pointer_leads_to_a_line_or_to_the_nearest_thing_around() -> None:
    """JSON has no lines to give."""
    document = parse("triggers:\n  a/b~c:\n    tags:\n    - one\n    - two\n", "t.yaml")
    assert document.place("/triggers/a~1b~0c/tags/1") == "t.yaml:5"
    assert document.place("/triggers/a~1b~0c/schedule/x") == "t.yaml:2"
    assert document.place("/elsewhere") == "t.yaml:1"
    assert parse('{"a": 1}', "t.json").place("/a") == "t.json"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfea", "is no text in UTF-8"),
        (b"a: " + b"x" * documents.MAX_CHARACTERS, "characters long"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "t.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DocumentError, match=expected):
        read(str(path))


def test_reads_files_with_a_byte_order_mark_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xbc\n")
    assert read(str(path)).content == {"a": "ü"}
    monkeypatch.setattr("sys.stdin", io.StringIO("a: [\n"))
    with pytest.raises(DocumentError, match=r"^stdin:2: "):
        read("-")


@given(st.dictionaries(st.text(), JSON, max_size=5))
@example({word: word for word in WORDS.split()})
@example({"long": "a b " * 100, "lines": "a\n\n  b\n", "": ["", " ", "# no comment", "\u2028\x85\ufeff", "😀"]})
@example({"numbers": [1e16, 1e-7, -0.0, 1.5e300, 5e-324, 2**64, 0, -1]})
def test_what_is_written_is_read_as_the_same(content: dict[str, Any]) -> None:
    """Whatever JSON may hold; by this reader and, but for what no YAML is, by PyYAML's own."""
    text = dump(content)
    assert json.dumps(parse(text, "t.yaml").content) == json.dumps(content)
    assert json.dumps(yaml.safe_load(text)) == json.dumps(content)
