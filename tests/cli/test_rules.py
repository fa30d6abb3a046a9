from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import typer

from recent_prune import ProbeResult, Verdict
from recent_prune.cli import rules
from recent_prune.cli.rules import rule_named
from recent_prune.testing import example_result

HERE = "tests.cli.test_rules"


def half(result: ProbeResult) -> Verdict:
    return Verdict(True, 0.0, f"{result.retained[-1]:.0%} arrives.")


class Half:
    def __call__(self, result: ProbeResult) -> Verdict:
        return half(result)


class Needy(Half):
    def __init__(self, share: float) -> None:
        self.share = share


def lies(result: ProbeResult) -> bool:
    return True


@pytest.mark.parametrize("name", ["half", "Half"])
def test_a_function_or_a_class_of_a_module(name: str) -> None:
    assert rule_named(f"{HERE}:{name}")(example_result([0.5])).reason == "50% arrives."


def test_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from recent_prune import Verdict\n"
        "def rule(result):\n    return Verdict(False, 1.0, 'None will do.')\n",
        encoding="utf-8",
    )
    assert rule_named(f"{file}:rule")(example_result()).reason == "None will do."


@pytest.mark.parametrize("name", ["trainability", "saturation"])
def test_ours(name: str) -> None:
    result = example_result([0.6, 0.5])
    assert rule_named(name)(result) == rules.OURS[name]()(result)


def installed(monkeypatch: pytest.MonkeyPatch, **named: str) -> None:
    found = EntryPoints(EntryPoint(name, value, rules.GROUP) for name, value in named.items())
    monkeypatch.setattr(rules, "entry_points", lambda group: found.select(group=group))


def test_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, half=f"{HERE}:Half", trainability=f"{HERE}:Half")
    assert rule_named("half")(example_result([0.5])).reason == "50% arrives."
    # Nobody replaces ours.
    assert "probability" in rule_named("trainability")(example_result()).reason


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", r"--rule broken \(nowhere:Rule\) cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:gone", f"--rule: {HERE} has no gone"),
        (f"{HERE}:HERE", f"--rule {HERE}:HERE must be a rule, but is str"),
        (f"{HERE}:Needy", "Needy cannot be made without arguments: .*'share'"),
    ],
)
def test_what_is_no_rule_is_told(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, broken="nowhere:Rule")
    with pytest.raises(ValueError, match=told):
        rule_named(name)


def test_an_unknown_name_is_a_wrong_option(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, broken="nowhere:Rule")
    with pytest.raises(typer.BadParameter, match="one of broken, saturation, trainability, or mod"):
        rule_named("none")


def test_a_rule_must_return_a_verdict() -> None:
    with pytest.raises(TypeError, match="lies must return a Verdict, but returned True"):
        rule_named(f"{HERE}:lies")(example_result())
