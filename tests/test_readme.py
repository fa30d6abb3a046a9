"""What the README shows, runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    printed = []
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(block, names)
        printed.append(capsys.readouterr().out)
    study, many = names["study"], names["results"]
    assert isinstance(study, optuna.Study)
    assert len(study.trials) == 20
    assert "Only 0.00% of the input is retained at 'tanh50'" in printed[1]
    assert printed[2].startswith("hidden1 ")
    assert isinstance(many, list)
    assert len(many) == 32
