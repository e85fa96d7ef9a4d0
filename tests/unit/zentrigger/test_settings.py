"""Settings from the environment."""

import pytest

from zentrigger.settings import AdminSettings, LifecycleSettings, SettingsError

GOOD = {
    "RUNS_TABLE": "runs",
    "CLUSTER": "c",
    "SUBNETS": "a,b",
    "SECURITY_GROUPS": "g",
    "ASSIGN_PUBLIC_IP": "ENABLED",
    "MAX_ACTIVE_RUNS": "5",
}


def test_settings_are_typed() -> None:
    """Lists and numbers come out as such."""
    settings = LifecycleSettings.read(GOOD)
    assert settings.subnets == ("a", "b")
    assert settings.max_active_runs == 5


def test_everything_missing_or_wrong_is_named_and_no_value_shown() -> None:
    """At the start, by the variable's name."""
    broken = {name: value for name, value in GOOD.items() if name != "CLUSTER"} | {
        "MAX_ACTIVE_RUNS": "s3cret",
        "SUBNETS": "",
    }
    with pytest.raises(SettingsError) as caught:
        LifecycleSettings.read(broken)
    for name in ("CLUSTER", "MAX_ACTIVE_RUNS", "SUBNETS"):
        assert name in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("given", "read"), [(None, ()), ("", ()), ("a,b*", ("a", "b*"))])
def test_a_stack_need_not_open_secrets(given: str | None, read: tuple[str, ...]) -> None:
    """The parameter of the stack is empty unless an operator sets it."""
    names = {name.upper() for name in AdminSettings.model_fields} - {"PIPELINE_SECRET_ARNS"}
    environment = dict.fromkeys(names, "x") | ({} if given is None else {"PIPELINE_SECRET_ARNS": given})
    assert AdminSettings.read(environment).pipeline_secret_arns == read
