"""The folder that is submitted to the OptunaHub registry."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path
from types import ModuleType

import optuna
import optunahub
import pytest
import yaml  # type: ignore[import-untyped]
from optuna.trial import TrialState

import recent_prune
from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from tests.networks import mlp
from tests.optuna.studies import DIGITS, condemned

ROOT = Path(__file__).parent.parent
REGISTRY = ROOT / "optunahub"
PACKAGE = "pruners/reconstruction_entropy"


@pytest.fixture
def module() -> ModuleType:
    return optunahub.load_local_module(PACKAGE, registry_root=str(REGISTRY))


def test_loads_and_shows_what_it_names(module: ModuleType) -> None:
    assert module.ReconstructionEntropyPruner is ReconstructionEntropyPruner
    for name in module.__all__:
        assert getattr(module, name).__module__.startswith("recent_prune.")


def test_prunes(module: ModuleType) -> None:
    trial = optuna.create_study(pruner=module.ReconstructionEntropyPruner()).ask()
    module.probe_trial(trial, mlp(depth=24, weight_variance=0.1), DIGITS.train)
    assert trial.should_prune()


def test_the_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = partial(optunahub.load_local_module, registry_root=str(REGISTRY))
    monkeypatch.setattr(optunahub, "load_module", local)
    study = runpy.run_path(str(REGISTRY / PACKAGE / "example.py"))["study"]
    dead = condemned(study)
    assert 0 < len(dead) < 20
    assert all(trial.state == TrialState.PRUNED for trial in dead)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"Trial {trial.number} never started: {trial.user_attrs[attributes.REASON]}"
        for trial in dead
    ]
    assert study.best_value > 0.9


def test_has_what_the_registry_asks_for() -> None:
    """Its header check, and the sections its contribution guide names."""
    readme = (REGISTRY / PACKAGE / "README.md").read_text(encoding="utf-8")
    _, header, text = readme.split("---\n", 2)
    known = yaml.safe_load(header)
    for name in ("author", "title", "description"):
        assert isinstance(known[name], str)
    assert all(isinstance(value, str) for value in known["tags"] + known["optuna_versions"])
    assert "pruner" in known["tags"]
    assert optuna.__version__ in known["optuna_versions"]
    assert known["license"] == "MIT License"
    for section in ("Abstract", "Class or Function Names", "Installation", "Example", "Others"):
        assert f"\n## {section}\n" in text
    needed = ".".join(recent_prune.__version__.split(".")[:2])
    assert f"pip install 'recent-prune>={needed}'" in text
    license_text = (REGISTRY / PACKAGE / "LICENSE").read_text(encoding="utf-8")
    assert license_text == (ROOT / "LICENSE").read_text(encoding="utf-8")
