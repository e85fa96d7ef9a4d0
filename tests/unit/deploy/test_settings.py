"""samconfig.toml: where a stage goes, and with which parameters."""

from pathlib import Path

import pytest

from deploy.account import connect
from deploy.errors import DeployError
from deploy.settings import Target, format_overrides, parse_overrides, read_target
from tests.unit.deploy.conftest import ROOT


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_shipped_file_names_a_stack_for_each_stage(stage: str) -> None:
    target = read_target(ROOT / "samconfig.toml", stage)
    assert target.stack_name == f"zentrigger-{stage}"
    assert target.parameters["Stage"] == stage
    assert target.architecture == "arm64"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("A=1 B=two", {"A": "1", "B": "two"}),
        ('A="1" Schedule="cron(0 4 * * ? *)"', {"A": "1", "Schedule": "cron(0 4 * * ? *)"}),
        (["A=1", "Schedule='rate(1 hour)'"], {"A": "1", "Schedule": "rate(1 hour)"}),
        ({"A": 1, "Url": "https://z.example/?a=b"}, {"A": "1", "Url": "https://z.example/?a=b"}),
        ('Empty=""', {"Empty": ""}),
        ("", {}),
    ],
)
def test_every_form_that_sam_writes_is_read(content: object, expected: dict[str, str]) -> None:
    assert parse_overrides(content) == expected


@pytest.mark.parametrize("content", ["A", "file://a.toml", "ParameterKey=A,ParameterValue=1", 'A="1', 3])
def test_what_cannot_be_merged_is_refused(content: object) -> None:
    """Parameters that were silently left out would be set back in the stack."""
    with pytest.raises(DeployError, match="parameter_overrides"):
        parse_overrides(content)


def test_what_is_written_for_sam_is_quoted() -> None:
    """SAM's own parser splits at spaces within one argument, and loses an empty value without quotes."""
    written = format_overrides({"Schedule": "cron(0 4 * * ? *)", "Empty": "", "Quoted": 'a"b'})
    assert written == ['Schedule="cron(0 4 * * ? *)"', 'Empty=""', r'Quoted="a\"b"']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dev.deploy", "no TOML"),
        ("", "names no stack"),
        ('[dev.deploy.parameters]\nstack_name="a"\nparameter_overrides="Stage=prod"', "Stage=prod"),
        ('[dev.deploy.parameters]\nstack_name="a"\nparameter_overrides="TaskArchitecture=MIPS"', "ARM64, X86_64"),
    ],
)
def test_a_wrong_file_is_refused_with_the_setting(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "samconfig.toml").write_text(text, "utf-8")
    with pytest.raises(DeployError, match=message):
        read_target(tmp_path / "samconfig.toml", "dev")


def test_global_parameters_count_too(tmp_path: Path) -> None:
    text = '[dev.global.parameters]\nstack_name="a"\nregion="eu-west-1"\n[dev.deploy.parameters]\nstack_name="b"'
    (tmp_path / "samconfig.toml").write_text(text, "utf-8")
    target = read_target(tmp_path / "samconfig.toml", "dev")
    assert (target.stack_name, target.region) == ("b", "eu-west-1")


@pytest.mark.usefixtures("aws")
class TestRegion:
    """The option, samconfig.toml, the environment; never a default."""

    def test_the_option_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        target = Target("dev", "a", {}, region="eu-west-1")
        assert connect(target, "ap-south-1").region == "ap-south-1"
        assert connect(target, None).region == "eu-west-1"
        assert connect(Target("dev", "a", {}), None).region == "us-west-2"

    def test_no_region_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
        with pytest.raises(DeployError, match="Which Region"):
            connect(Target("dev", "a", {}), None)

    def test_a_profile_that_is_not_there(self) -> None:
        with pytest.raises(DeployError, match="nobody"):
            connect(Target("dev", "a", {}, profile="nobody"), "eu-west-1")
