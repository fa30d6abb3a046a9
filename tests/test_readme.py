"""What the README shows, runs."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["optuna", "single model"])
def test_code_runs(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(block, names)
    if "study" in names:
        study = names["study"]
        assert isinstance(study, optuna.Study)
        assert len(study.trials) == 20
    else:
        assert "Only 0.00% of the input is retained at 'tanh50'" in capsys.readouterr().out
