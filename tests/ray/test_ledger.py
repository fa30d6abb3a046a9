from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow.fs import LocalFileSystem
from torch import nn
from torch.nn.functional import relu

from recent_prune.ray import probed_trials
from recent_prune.ray.judging.outcome import RANKED, Outcome
from recent_prune.ray.ledger import STUDY, Ledger
from recent_prune.rules import SUMMARY

ROOT = Path(__file__).parents[2]
GOOD = Outcome("a", {"trainable": True, "violation": -0.5, "retained": 0.3})
FAULT = Outcome("b", fault="OSError: disk")


def ledger(path: Path) -> Ledger:
    return Ledger(LocalFileSystem(), str(path))


def test_what_is_recorded_is_found_by_another(tmp_path: Path) -> None:
    first = ledger(tmp_path)
    assert first.find("a", {"depth": 3}) is None
    first.record([(GOOD, {"depth": 3, "lr": 1e-3}), (FAULT, {})])
    second = ledger(tmp_path)
    assert second.find("a", {"lr": 1e-3, "depth": 3}) == GOOD
    assert second.find("b", {}) == FAULT


def test_another_configuration_under_the_same_id_is_another_trial(tmp_path: Path) -> None:
    ledger(tmp_path).record([(GOOD, {"depth": 3})])
    assert ledger(tmp_path).find("a", {"depth": 4}) is None


def test_a_file_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    ledger(tmp_path).record([(GOOD, {})])
    (tmp_path / "recent_prune" / "0-0.partial").write_text('[{"config": ')
    assert ledger(tmp_path).find("a", {}) == GOOD


def test_a_file_that_cannot_be_read_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger(tmp_path).record([(GOOD, {})])
    (tmp_path / "recent_prune" / "99.json").write_text("")
    with caplog.at_level("WARNING", logger="recent_prune"):
        assert ledger(tmp_path).find("a", {}) == GOOD
    assert "99.json cannot be read" in caplog.text


def test_functions_and_objects_in_a_configuration_are_known_in_another_process(
    tmp_path: Path,
) -> None:
    code = """
import sys, torch
from tests.ray.test_ledger import Path, ledger, with_objects
book = ledger(Path(sys.argv[1]))
print(book.find("b", with_objects(torch.sigmoid)), book.find("a", with_objects(torch.tanh)))
"""
    outcomes = [GOOD, replace(GOOD, trial_id="b")]
    ledger(tmp_path).record((outcome, with_objects(torch.tanh)) for outcome in outcomes)
    command = [sys.executable, "-c", code, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == f"None {GOOD}"


def with_objects(function: Any) -> dict[str, Any]:
    return {"f": function, "g": relu, "h": nn.Tanh, "i": object()}


def test_table_of_probes(tmp_path: Path) -> None:
    assert probed_trials(tmp_path).empty
    assert list(probed_trials(tmp_path)) == [
        "trial_id",
        *SUMMARY,
        *RANKED,
        "memory",
        "memory_limit",
        "fault",
    ]
    ledger(tmp_path).record([(GOOD, {})])
    ledger(tmp_path).record([(FAULT, {})])
    table = probed_trials(tmp_path)
    assert table["trial_id"].tolist() == ["a", "b"]
    assert table["retained"].tolist()[0] == 0.3
    assert table["fault"].isna().tolist() == [True, False]


def test_a_misspelt_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        for given in (tmp_path / name, (tmp_path / name).as_uri()):
            with pytest.raises(FileNotFoundError, match=f"there is no .*{tmp_path.name}/{name}"):
                probed_trials(given)


def test_what_an_earlier_version_recorded_is_read(tmp_path: Path) -> None:
    # Before first steps: without cause, advice and losses.
    outcome = {
        "trial_id": "a",
        "summary": {"trainable": False, "violation": 0.4, "reason": "Lost.", "retained": 0.01},
        "fault": None,
    }
    first = ledger(tmp_path)
    first.record([(GOOD, {"depth": 3})])
    [file] = (tmp_path / "recent_prune").glob("*.json")
    [entry] = json.loads(file.read_text())
    file.write_text(json.dumps([{**entry, "outcome": outcome}]))
    found = ledger(tmp_path).find("a", {"depth": 3})
    assert found is not None
    assert not found.passes
    table = probed_trials(tmp_path)
    assert table["reason"].tolist() == ["Lost."]
    assert table[["cause", "advice", "loss_after"]].isna().all(axis=None)


def test_what_could_not_be_written_is_written_with_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ledger(tmp_path)
    (tmp_path / "recent_prune").write_text("in the way")
    first.record([(GOOD, {})])
    assert "Verdicts are not kept" in caplog.text
    (tmp_path / "recent_prune").unlink()
    first.record([(FAULT, {})])
    assert list(ledger(tmp_path).outcomes) == ["a", "b"]


def test_outcomes_are_in_the_order_of_their_last_verdicts(tmp_path: Path) -> None:
    first = ledger(tmp_path)
    first.record([(GOOD, {"x": 1}), (FAULT, {"x": 1})])
    assert first.find("a", {"x": 2}) is None
    assert list(first.outcomes) == ["b"]  # what was known of "a" was of another configuration
    first.record([(GOOD, {"x": 2})])
    assert list(first.outcomes) == list(ledger(tmp_path).outcomes) == ["b", "a"]


def test_a_study_that_could_not_be_written_is_written_with_the_next_verdicts(
    tmp_path: Path,
) -> None:
    first = ledger(tmp_path)
    (tmp_path / "recent_prune").write_text("in the way")
    first.record_study({"rule": 3})
    (tmp_path / "recent_prune").unlink()
    first.record([(GOOD, {})])
    assert json.loads((tmp_path / "recent_prune" / STUDY).read_text()) == {"rule": 3}


def test_numbers_of_numpy_are_no_obstacle(tmp_path: Path) -> None:
    ledger(tmp_path).record([(Outcome("a", {"reason": np.float32(0.5)}), {})])  # type: ignore[dict-item]
    assert list(ledger(tmp_path).outcomes) == ["a"]
