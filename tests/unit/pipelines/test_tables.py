"""What is taken for a table, and what is said of everything else."""

import io
from pathlib import Path

import pandas as pd
import pytest

from pipelines.tables import TableError, display_url, parse_table, read_table


def parquet(table: pd.DataFrame) -> bytes:
    """Write a table as Parquet."""
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a;b\r\n1;x\r\n2;y\r\n",
        b"a\tb\n1\tx\n2\ty\n",
        parquet(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
    ],
    ids=["comma", "byte order mark", "semicolon", "tab", "parquet"],
)
def test_a_table_is_read_whatever_it_is_called(content: bytes) -> None:
    """Its kind is seen from its first bytes."""
    table = parse_table(content, "t")
    assert list(table.columns) == ["a", "b"]
    assert table["a"].tolist() == [1, 2]
    assert table["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n", "no rows"),
        (parquet(pd.DataFrame({"a": []})), "no rows"),
        (b"<!DOCTYPE html><html></html>", "is no table"),
        (b'{"a": 1}', "is no table"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is no table"),
        (b"a,b\n1,2\n1,2,3,4\n", "is no table"),
        (b"PAR1 and then nonsense", "cannot be read as such"),
        (b"\x1f\x8b\x08rest", "gzip"),
    ],
)
def test_what_is_no_table_is_said_with_its_name(content: bytes, said: str) -> None:
    """Never a parser's error alone."""
    with pytest.raises(TableError, match=said) as error:
        parse_table(content, "s3://b/k")
    assert str(error.value).startswith("s3://b/k")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no/such.csv", "does not exist in the task"),
        ("gs://bucket/key", "gs:// is not supported"),
        ("s3://bucket", "names no object"),
        (".", "is a folder"),
    ],
)
def test_an_address_that_cannot_be_read_is_named(url: str, said: str) -> None:
    """Nothing is fetched for these."""
    with pytest.raises(TableError, match=said):
        read_table(url)


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the default of the training pipeline has it."""
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert len(read_table("t.csv")) == 1
    assert len(read_table(f"file://{tmp_path}/t.csv")) == 1


def test_a_shown_url_holds_no_secrets() -> None:
    """A signature or a password in a URL is as good as a key."""
    shown = display_url("https://user:password@example.com:8443/a.csv?X-Amz-Signature=abc#f")
    assert shown == "https://example.com:8443/a.csv"
