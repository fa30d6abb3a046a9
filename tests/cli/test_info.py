from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from typer.testing import CliRunner

import recent_prune
from recent_prune.cli import app
from recent_prune.cli.info import PACKAGES


def told() -> dict[str, object]:
    run = CliRunner().invoke(app, ["info", "--json"])
    assert run.exit_code == 0, run.output
    known = json.loads(run.output)
    assert isinstance(known, dict)
    return known


def test_json_for_scripts() -> None:
    known = told()
    assert known["platform"] == platform.platform()
    versions, probes = known["versions"], known["probes"]
    assert isinstance(versions, dict)
    assert isinstance(probes, list)
    assert versions["recent_prune"] == recent_prune.__version__
    assert versions["torch"] == torch.__version__
    assert versions["python"] == platform.python_version()
    first = probes[0]
    assert first["device"] == "cpu"
    assert first["trainable"] is True
    assert first["loss_after"] < first["loss_before"]
    assert 0 < first["retained"] <= 1


def test_a_line_each() -> None:
    run = CliRunner().invoke(app, ["info"], env={"COLUMNS": "40"})
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert lines[0] == f"recent_prune {recent_prune.__version__}"
    assert len(lines) == 3 + len(PACKAGES) + 2 + 1 + torch.accelerator.device_count()
    assert "can train, loss" in lines[-1]


def test_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("recent_prune.cli.info")  # as an attribute of its package a function
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    versions = told()["versions"]
    assert isinstance(versions, dict)
    assert versions["no-such-package"] is None
    assert "no-such-package not installed" in CliRunner().invoke(app, ["info"]).output


def test_a_probe_that_fails_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel\nfor this device")

    monkeypatch.setattr(recent_prune, "probe", fail)
    run = CliRunner().invoke(app, ["info"])
    assert run.exit_code == 0
    said = "the small probe failed: RuntimeError: no kernel for this device"
    assert said in run.output


def test_random_states_are_left_alone() -> None:
    before = torch.get_rng_state()
    told()
    assert torch.equal(before, torch.get_rng_state())


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "recent_prune", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert recent_prune.__version__ in run.stdout
