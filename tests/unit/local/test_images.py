"""Images of this machine: what is in one, when there is a new one, and that a pinned one stays what it was."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.images import ImageError, ImageNotFoundError, ImageStore


class StoreBuilder:
    """Stands in for ZenML, which takes seconds."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self, folder: Path) -> None:
        self.built += 1
        for name in ("config/config.yaml", "stores/default_zen_store/zenml.db"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text("fresh")


def write(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text or f"# {name}\n")


def content(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    write(root, "runner/__main__.py", "pipelines/training.py", "layers/zentrigger/zentrigger/runs.py", "README.md")
    return root


@pytest.fixture
def builder() -> StoreBuilder:
    return StoreBuilder()


@pytest.fixture
def store(tmp_path: Path, repository: Path, builder: StoreBuilder) -> ImageStore:
    return ImageStore(tmp_path / "images", repository=repository, build_store=builder)


def test_an_image_holds_the_three_packages_and_no_rubbish(store: ImageStore, repository: Path) -> None:
    write(repository, "runner/__pycache__/a.cpython-311.pyc", "pipelines/.secret", "pipelines/.git/config")
    write(repository, "pipelines/data/iris.csv", "pipelines/old.pyc")
    image = store.resolve("local")
    assert content(image.folder) == {
        "runner/__main__.py",
        "pipelines/training.py",
        "pipelines/data/iris.csv",
        "zentrigger/runs.py",
    }
    assert image.folder.name == image.digest.replace(":", "-")
    assert image.pinned == f"local@{image.digest}"


def test_an_unchanged_tree_makes_no_new_image(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.resolve("local")

    def no_copy(*_: object) -> None:
        pytest.fail("copied again")

    monkeypatch.setattr(shutil, "copy", no_copy)
    assert store.resolve("local:latest").digest == first.digest
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_a_changed_tree_makes_a_new_image_and_the_pinned_one_stays(store: ImageStore, repository: Path) -> None:
    old = store.resolve("local")
    (repository / "pipelines/training.py").write_text("changed = True\n")
    new = store.resolve("local")
    assert new.digest != old.digest
    pinned = store.resolve(old.pinned)
    assert pinned.digest == old.digest
    assert (pinned.folder / "pipelines/training.py").read_text() == "# pipelines/training.py\n"
    (repository / "pipelines/training.py").write_text("# pipelines/training.py\n")
    assert store.resolve("local").digest == old.digest


def test_a_floating_reference_is_pinned_to_the_tree_as_it_is_now(store: ImageStore, repository: Path) -> None:
    old = store.pinned("local")
    assert store.pinned("local:any") == old == store.resolve("local").pinned
    (repository / "pipelines/training.py").write_text("changed = True\n")
    assert store.pinned("local") != old
    for reference in (old, "registry.example.com/runner:1", f"local:any@{old.partition('@')[2]}"):
        assert store.pinned(reference) == reference


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "runner/__main__.py").rename(root / "runner/other.py"),
        lambda root: (root / "runner/__main__.py").chmod(0o755),
        lambda root: (root / "runner/__main__.py").unlink(),
    ],
    ids=["renamed", "made executable", "deleted"],
)
def test_names_and_modes_count(store: ImageStore, repository: Path, change: object) -> None:
    old = store.resolve("local")
    assert callable(change)
    change(repository)
    assert store.resolve("local").digest != old.digest


def test_the_digest_depends_on_content_alone(store: ImageStore, repository: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(repository, elsewhere)
    os.utime(elsewhere / "runner/__main__.py", (1, 1))
    other = ImageStore(tmp_path / "other images", repository=elsewhere, build_store=StoreBuilder())
    assert other.resolve("local").digest == store.resolve("local").digest


def test_a_lost_copy_of_the_current_tree_is_made_again(store: ImageStore) -> None:
    image = store.resolve("local")
    shutil.rmtree(image.folder)
    with pytest.raises(ImageNotFoundError):
        store.resolve(image.pinned)
    assert content(store.resolve("local").folder)


@pytest.mark.parametrize(
    "reference", ["", "Local", "python:3.11", "local@sha256:12", "local@sha256:" + "0" * 64, "local/../x", "local:a b"]
)
def test_unknown_references_are_not_found(store: ImageStore, reference: str) -> None:
    with pytest.raises(ImageNotFoundError, match="not found"):
        store.resolve(reference)


def test_a_users_packages_and_modules_lie_beside(tmp_path: Path, repository: Path) -> None:
    project = tmp_path / "project"
    write(project, "churn/__init__.py", "churn/model.txt", "forecast.py", "scripts/run.py")
    write(project, "README.md", "setup.py", "tests/test_a.py", ".venv/x.py", "env/pyvenv.cfg", "env/x.py", "data/a.csv")
    store = ImageStore(tmp_path / "images", [project], repository=repository, build_store=StoreBuilder())
    assert content(store.resolve("local").folder) - {"runner/__main__.py", "pipelines/training.py"} == {
        "zentrigger/runs.py",
        "churn/__init__.py",
        "churn/model.txt",
        "forecast.py",
        "scripts/run.py",
    }


def test_two_packages_of_one_name_are_refused(tmp_path: Path, repository: Path) -> None:
    write(tmp_path / "project", "pipelines/mine.py")
    store = ImageStore(tmp_path / "images", [tmp_path / "project"], repository=repository, build_store=StoreBuilder())
    with pytest.raises(ImageError, match="would be pipelines in the image"):
        store.resolve("local")


def test_missing_folders_are_named(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ImageError, match="nowhere is no folder"):
        ImageStore(tmp_path / "images", [tmp_path / "nowhere"], repository=repository)
    shutil.rmtree(repository / "pipelines")
    with pytest.raises(ImageError, match="pipelines, which is not there"):
        ImageStore(tmp_path / "images", repository=repository).resolve("local")


def test_each_container_gets_files_and_a_zenml_store_of_its_own(
    store: ImageStore, builder: StoreBuilder, tmp_path: Path
) -> None:
    image = store.resolve("local")
    roots = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        roots.append(store.unpack(image, tmp_path / name))
    assert builder.built == 1
    first, second = (Path(root.environment["ZENML_LOCAL_STORES_PATH"], "default_zen_store/zenml.db") for root in roots)
    first.write_text("used")
    (roots[0].working_directory / "runner/__main__.py").write_text("changed")
    assert second.read_text() == "fresh"
    assert (roots[1].working_directory / "runner/__main__.py").read_text() == "# runner/__main__.py\n"
    assert (image.folder / "runner/__main__.py").read_text() == "# runner/__main__.py\n"
    environment = roots[0].environment
    assert environment["PYTHONPATH"] == str(roots[0].working_directory)
    assert environment["ZENML_CONFIG_PATH"].startswith(str(tmp_path / "one"))
    assert environment["ZENML_ANALYTICS_OPT_IN"] == "false"


def test_the_zenml_store_outlives_the_process_that_built_it(
    store: ImageStore, builder: StoreBuilder, tmp_path: Path, repository: Path
) -> None:
    store.prepare()
    ImageStore(tmp_path / "images", repository=repository, build_store=builder).prepare()
    assert builder.built == 1


def test_a_failed_build_leaves_nothing_and_is_tried_again(tmp_path: Path, repository: Path) -> None:
    builder = StoreBuilder()

    def fails_once(folder: Path) -> None:
        builder(folder)
        if builder.built == 1:
            raise ImageError("ZenML could not initialise its store: disk full")

    store = ImageStore(tmp_path / "images", repository=repository, build_store=fails_once)
    with pytest.raises(ImageError, match="disk full"):
        store.prepare()
    assert [path.name for path in (tmp_path / "images").iterdir() if path.name.startswith(("zenml", "."))] == []
    store.prepare()


def test_many_threads_make_one_image_and_one_store(store: ImageStore, builder: StoreBuilder, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = {image.digest for image in pool.map(lambda _: store.prepare(), range(16))}
    assert len(digests) == 1
    assert builder.built == 1
    assert len(list((tmp_path / "images").iterdir())) == 2
