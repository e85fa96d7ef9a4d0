"""The build for Lambda: right platform, complete, small, and the same each time. Checked without running it."""

import importlib.metadata
import re
import struct
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import parse_tag

from tests.artifacts.build import FUNCTIONS, MEBIBYTE, ROOT, Layers, build, digest, files, unzipped_bytes, zipped_bytes
from tests.unit.test_architecture import imports

ZIPPED_LIMIT = 30 * MEBIBYTE
"""Our own: what is fetched at a cold start."""
UNZIPPED_LIMIT = 250 * MEBIBYTE
"""Lambda's, for a function with all its layers (AWS: Lambda quotas)."""
LAMBDA_GLIBC = (2, 34)
"""Of Amazon Linux 2023, on which python3.13 runs (AWS: Lambda runtimes)."""
ARM64 = 183
"""e_machine of AArch64 in an ELF header."""
TARGET = {
    "implementation_name": "cpython",
    "platform_machine": "aarch64",
    "platform_system": "Linux",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
    "os_name": "posix",
    "extra": "",
}


def fits(tag: str) -> bool:
    """Tell whether Lambda's python3.13 on arm64 takes a wheel with this tag."""
    (parsed,) = parse_tag(tag)
    pure = parsed.abi == "none" and parsed.platform == "any"
    if pure:
        return parsed.interpreter.startswith(("py2", "py3"))
    version = re.fullmatch(r"cp3(\d+)", parsed.interpreter)
    python = version is not None and (
        (parsed.abi == "abi3" and int(version[1]) <= 13) or (parsed.abi == parsed.interpreter == "cp313")
    )
    glibc = re.fullmatch(r"manylinux_(\d+)_(\d+)_aarch64", parsed.platform)
    old_enough = glibc is not None and (int(glibc[1]), int(glibc[2])) <= LAMBDA_GLIBC
    return python and (old_enough or parsed.platform == "manylinux2014_aarch64")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", True),
        ("cp313-cp313-manylinux_2_28_aarch64", True),
        ("cp310-abi3-manylinux_2_17_aarch64", True),
        ("cp313-cp313-manylinux2014_aarch64", True),
        ("cp313-cp313-manylinux_2_39_aarch64", False),
        ("cp313-cp313-manylinux_2_28_x86_64", False),
        ("cp312-cp312-manylinux_2_28_aarch64", False),
        ("cp314-abi3-manylinux_2_28_aarch64", False),
        ("cp313-cp313-musllinux_1_2_aarch64", False),
    ],
)
def test_which_tags_fit(tag: str, expected: bool) -> None:
    """The check itself."""
    assert fits(tag) is expected


def test_every_wheel_is_for_lambda(lambda_layers: Layers) -> None:
    """By its own WHEEL file; one of its tags must fit."""
    wheels = list(lambda_layers.dependencies.glob("*.dist-info/WHEEL"))
    assert len(wheels) >= 10
    for wheel in wheels:
        tags = re.findall(r"^Tag: (\S+)$", wheel.read_text("utf-8"), re.MULTILINE)
        singles = [str(single) for tag in tags for single in parse_tag(tag)]
        assert any(fits(single) for single in singles), (wheel.parent.name, tags)


def test_every_shared_object_is_arm64(lambda_layers: Layers) -> None:
    """By its name and its ELF header."""
    objects = [path for path in files(lambda_layers.dependencies) if ".so" in path.suffixes]
    assert objects, "pydantic and jsonschema-rs have some"
    for path in objects:
        with path.open("rb") as file:
            header = file.read(20)
        assert header[:4] == b"\x7fELF", path.name
        assert struct.unpack_from("<H", header, 18) == (ARM64,), path.name
        assert path.name.endswith((".abi3.so", ".cpython-313-aarch64-linux-gnu.so")), path.name


def test_everything_imported_is_there(lambda_layers: Layers) -> None:
    """In the function, a layer or the standard library: what functions and the domain package import."""
    sources = [*files(lambda_layers.folders[1] / "python"), *(path for f in FUNCTIONS for path in files(f))]
    python = [path for path in sources if path.suffix == ".py"]
    assert len(python) >= 20
    there = {path.name.partition(".")[0] for folder in lambda_layers.import_path for path in folder.iterdir()}
    for path in python:
        own = {other.stem for other in path.parent.glob("*.py")}
        for module in imports(path):
            name = module.partition(".")[0]
            assert name in there | own | sys.stdlib_module_names, f"{path.name} imports {module}, which is in no layer"


def test_every_requirement_is_there(lambda_layers: Layers) -> None:
    """Of every package in the layer, at a version that it takes."""
    distributions = {
        distribution.metadata["Name"].lower().replace("_", "-"): distribution
        for distribution in importlib.metadata.distributions(path=[str(lambda_layers.dependencies)])
    }
    for distribution in distributions.values():
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(TARGET):
                found = distributions.get(requirement.name.lower().replace("_", "-"))
                assert found is not None, f"{distribution.metadata['Name']} needs {requirement}"
                assert requirement.specifier.contains(found.version, prereleases=True), (text, found.version)


def test_only_what_is_locked_is_there(lambda_layers: Layers) -> None:
    """Each package of the exported requirements, and nothing else; no tests' and no tasks' packages."""
    exported = (lambda_layers.folders[0] / "requirements.txt").read_text("utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", exported, re.MULTILINE))
    found = {
        distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        for distribution in importlib.metadata.distributions(path=[str(lambda_layers.dependencies)])
    }
    assert found <= pinned, found - pinned
    assert not found & {"zenml", "moto", "pytest"}
    assert exported.count("--hash=sha256:") >= len(pinned)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda folder: folder.name)
def test_sizes(lambda_layers: Layers, function: Path, tmp_path: Path) -> None:
    """Zipped under our limit, unzipped under Lambda's."""
    folders = [*lambda_layers.folders, function]
    zipped = sum(zipped_bytes(folder, tmp_path / f"{folder.name}.zip") for folder in folders)
    unzipped = unzipped_bytes(*folders)
    assert zipped < ZIPPED_LIMIT, f"{zipped / MEBIBYTE:.1f} MB zipped"
    assert unzipped < UNZIPPED_LIMIT, f"{unzipped / MEBIBYTE:.1f} MB unzipped"


def test_the_same_sources_give_the_same_layers(lambda_layers: Layers, tmp_path: Path) -> None:
    """Nothing of the machine or the moment is in them, or every deployment would be one of new layers."""
    again = build(tmp_path)
    assert [digest(folder) for folder in again.folders] == [digest(folder) for folder in lambda_layers.folders]
    assert not [path for folder in again.folders for path in folder.rglob("__pycache__")]
    for path in files(again.folders[1]):
        assert str(ROOT) not in path.read_text("utf-8", "replace")
