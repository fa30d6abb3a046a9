"""What the README shows, runs, from top to bottom; what it links to is there."""

from __future__ import annotations

import re
from pathlib import Path

import optuna

from recent_prune.optuna.attributes import TRAINABLE
from tests.markdown import gist, ran

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_code_runs(tmp_path: Path) -> None:
    found = list(ran(README, tmp_path))
    for each in found:
        if each.block.shown is not None:
            assert gist(each.block.shown) == gist(each.printed)
    assert sum("Will not train." in each.printed for each in found) == 1
    study = found[-1].names["study"]
    assert isinstance(study, optuna.Study)
    assert len(study.trials) == 20
    storage = str(found[-1].names["storage"])
    assert f"recent-prune report {storage}" in README
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path / 'study.db'}") == [study.study_name]
    assert any(trial.user_attrs[TRAINABLE] is False for trial in study.trials)


def test_says_what_budget_and_rung_zero_are() -> None:
    assert README.index("budget=") + 80 > README.index("# steps of the full training")
    assert "Rung zero, `keep=1/8`, ranks" in README


def test_is_read_in_a_minute() -> None:
    assert len(README.splitlines()) <= 120
    assert len(re.findall(r"^\|[ |:-]+\|$", README, flags=re.MULTILINE)) <= 2  # tables
