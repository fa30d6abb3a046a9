"""A small, fixed part of the zoo is answered and judged; the rest is the benchmark's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.zoo import data
from benchmarks.zoo.measure import confirmed, limited, measured
from benchmarks.zoo.plain import Trained, trained
from benchmarks.zoo.report import FIELDS, compact, load, report, save
from benchmarks.zoo.run import entries, is_failed, main, wants_training
from benchmarks.zoo.specification import Entry, unique

KEPT = (
    "own Siamese, ((a, b), y)",
    "own tabular, numbers and categories",
    "own DeepFM, forward(batch)",
    "own matrix factorization of integer pairs",
    "own LSTM of 3 layers",
    "own LSTM of PackedSequence",
    "own PINN, autograd in forward",
    "own complex-valued",
    "own mixture of experts",
    "own LoRA on a frozen base",
    "own residual MLP, rezero",
    "graphs residual sums, 8 layers",
)
CONDEMNED = {
    "own doomed: dead ReLUs": "dead",
    "own doomed: rate of 100": "non-finite",
    "own doomed: rate of 1e-9": "stalls",
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As the benchmark runs, on digits whether or not other images are there."""
    monkeypatch.setattr(data, "CIFAR", Path("/nowhere"))
    data._pictures.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    data._pictures.cache_clear()


@pytest.fixture(scope="module")
def zoo() -> dict[str, Entry]:
    return entries(["own", "graphs"])


@pytest.mark.parametrize("name", KEPT)
def test_answers_and_keeps(zoo: dict[str, Entry], name: str) -> None:
    row = measured(zoo[name])
    assert row["answered"], row["error"]
    assert row["trial_answered"], row["trial_error"]
    assert row["trainable"], row["reason"]
    assert row["trial_trainable"], row["trial_reason"]
    assert row["layers"] >= 1
    assert set(row) <= set(FIELDS)


@pytest.mark.parametrize(("name", "cause"), CONDEMNED.items())
def test_condemns_what_is_doomed(zoo: dict[str, Entry], name: str, cause: str) -> None:
    row = measured(zoo[name])
    assert row["trial_trainable"] is False
    assert row["trial_cause"] == cause


@pytest.mark.parametrize("model", ["BertForSequenceClassification", "T5ForConditionalGeneration"])
def test_answers_transformers(model: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    row = measured(entries(["transformers"])[f"transformers {model}"])
    assert row["answered"], row["error"]
    assert row["trial_answered"], row["trial_error"]
    assert row["trainable"]
    assert row["trial_trainable"]


def test_answers_timm() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    row = measured(entries(["timm"])["timm test_resnet"])
    assert row["answered"], row["error"]
    assert row["trial_trainable"], row.get("trial_error") or row["trial_reason"]


def test_has_150_architectures_and_40_to_be_trained() -> None:
    for library in ("torchvision", "timm", "transformers"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    found = entries().values()
    assert len(found) >= 150
    assert sum(entry.confirm for entry in found) >= 40


def test_names_are_unique(zoo: dict[str, Entry]) -> None:
    entry = next(iter(zoo.values()))
    with pytest.raises(ValueError, match="Two entries are called 'own "):
        unique([entry, entry])


def test_one_that_fails_is_a_row(zoo: dict[str, Entry]) -> None:
    def broken() -> nn.Module:
        return nn.Linear(99, 1)

    entry = zoo["own radial basis functions"]
    row = measured(replace(entry, build=broken))
    assert row["answered"] is False
    assert row["trial_answered"] is False
    assert "shapes cannot be multiplied" in row["error"]
    assert is_failed(row)

    def absent() -> nn.Module:
        raise OSError("no such model")

    row = measured(replace(entry, build=absent))
    assert row["built"] is False
    assert row["error"].startswith("OSError: no such model")
    assert not wants_training(entry, row)


def test_one_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimeoutError, match=r"more than 0\.05 s"), limited(0.05):
        time.sleep(5)


def test_a_training_is_told_from_none(zoo: dict[str, Entry]) -> None:
    found = trained(zoo["own mixture density network"], math.nan, 30)
    assert found.trains(math.nan)
    assert found.after < found.before
    torn = zoo["own doomed: rate of 100"]
    row = confirmed(torn, {"constant_loss": 5.5})
    assert row["trains"] is False
    assert row["trained_steps"] < 50  # it breaks
    assert not Trained(300, 2.4, 2.29, 1.0).trains(2.30)  # below its start, not the constant
    assert Trained(300, 2.4, 2.1, 1.0).trains(2.30)
    assert not Trained(300, 2.4, math.nan, 1.0).trains(2.30)
    assert Trained(300, -1.0, -1.2, 1.0).trains(math.nan)  # such as a likelihood


def test_what_is_done_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.csv"
    pattern = "radial basis|rate of 100$"
    main(only=pattern, source=["own"], confirm=True, results=results)
    assert len(load(results)) == 2
    assert "does not" in results.with_suffix(".md").read_text()
    printed = capsys.readouterr().out
    assert "own radial basis functions: trains" in printed
    assert "own doomed: rate of 100: DOES NOT TRAIN" in printed
    main(only=pattern, source=["own"], confirm=True, results=results)
    assert capsys.readouterr().out == ""


def _row(name: str, **more: Any) -> dict[str, Any]:
    kept = {"answered": True, "trainable": True, "trial_answered": True, "trial_trainable": True}
    times = {"seconds": 2.0, "forward_seconds": 1.0, "trial_seconds": 3.0}
    place = {"name": name, "source": "own", "family": "MLP", "called": "as ever", "built": True}
    return {**place, **kept, **times, "weighted": 3.0, "layers": 2.0, "unseen": 0.0, **more}


def test_report_counts_contradictions() -> None:
    text = report(
        [
            _row("a"),
            _row("b", trial_trainable=False, trial_cause="stalls", trains=True),
            _row("c", trial_trainable=False, trial_cause="dead", trains=False),
            _row("d", answered=False, error="ValueError: a | b", trial_answered=False),
            _row("e", trial_trainable=True, trains=False),
            _row("f", family="doomed", trial_trainable=False, trains=False),
        ]
    )
    assert "| answered, without and with first steps | 5 (83.3%) |" in text
    assert "| condemned, but a short training contradicts it | 1 |" in text
    assert "| condemned with first steps | 2 |" in text
    assert "| doomed on purpose, condemned with first steps | 1 of 1 |" in text
    assert "ValueError: a / b" in text
    missed = text.split("does not confirm it")[1].split("##")[0]
    assert "| e |" in missed
    assert "| c |" not in missed


def test_table_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    save(_row("a", trial_score=0.5), path)
    save(_row("b"), path)
    save(_row("a", trial_score=0.7, constant_loss=math.nan, reason="one, two"), path)
    compact(path)
    rows = load(path)
    assert list(rows) == ["a", "b"]
    assert rows["a"]["trial_score"] == 0.7
    assert rows["a"]["reason"] == "one, two"
    assert math.isnan(rows["a"]["constant_loss"])
    assert rows["b"]["trainable"] is True
