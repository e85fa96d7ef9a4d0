"""Which commit a source file is of."""

import subprocess
from pathlib import Path

import pytest

from zentrigger_client.git_state import git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a module in a package of a repository with one commit."""
    file = tmp_path / "repository" / "package" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_text("x = 1\n")
    git(tmp_path, "init", "--quiet", "repository")
    (tmp_path / "repository" / ".gitignore").write_text("ignored/\n")
    git(file.parent, "add", "--all", ":/")
    git(file.parent, "commit", "--quiet", "--message", "first")
    return file


def test_a_clean_tree(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from within a hook of git, which names another repository."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    state = git_state(source)
    monkeypatch.delenv("GIT_DIR")
    assert state == {"commit": git(source.parent, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize("changed", ["package/module.py", "elsewhere.py"])
def test_anything_that_differs_makes_the_tree_dirty(source: Path, changed: str) -> None:
    """A change to the file itself, or a new file elsewhere, which it may import."""
    (source.parents[1] / changed).write_text("x = 2\n")
    assert git_state(source) == {"commit": git(source.parent, "rev-parse", "HEAD"), "dirty": True}


def test_no_commit_tells_what_an_ignored_file_is(source: Path) -> None:
    ignored = source.parents[1] / "ignored" / "module.py"
    ignored.parent.mkdir()
    ignored.write_text("x = 1\n")
    assert git_state(ignored) is None


def test_without_a_repository_without_a_commit_and_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path / "module.py") is None
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path / "module.py") is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_state(tmp_path / "module.py") is None
