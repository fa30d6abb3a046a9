"""The studies of phase diagrams, each with networks small enough for seconds."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import typer

from studies.common.images import Data, load, pooled
from studies.common.phase_diagram import FLOOR_SHARE, floor_depths
from studies.common.study import Study
from studies.common.training import Training
from tests.browser import looked_at, needs_chromium

STUDIES = ("dnn", "cnn", "resnet")


def tiny(name: str) -> Study:
    study: Study = importlib.import_module(f"studies.{name}_phase_diagram.study").STUDY
    scale = replace(
        study.scales["quick"],
        size=0 if name == "dnn" else 2,
        depth=4,
        weight_variances=(0.5, 1.5, 4.0),
        updates=10,
        trained_variances=(0.5, 1.5),
        trained_depths=(3, 4),
        training=Training(epochs=1, samples=128, learning_rate=0.1),
    )
    return replace(study, scales={"quick": scale})


@needs_chromium
@pytest.mark.parametrize(
    "name", [STUDIES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in STUDIES[1:])]
)
def test_a_study_measures_draws_and_compares(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(name).run(quick=True, device="cpu", out=tmp_path)
    profiles = pd.read_csv(tmp_path / "quick_digits_profiles.csv")
    layers = {"dnn": 4, "cnn": 4, "resnet": 7}[name]  # the blocks follow three convolutions
    assert len(profiles) == 3 * layers
    assert profiles.notna().all(axis=None)
    assert len(pd.read_csv(tmp_path / "quick_digits_training.csv")) == 2 * 2 * 2
    text = (tmp_path / "quick_digits.md").read_text()
    assert "digits, 1438 images (1, 8, 8)" in text
    assert text.strip() in capsys.readouterr().out
    assert (tmp_path / "quick_digits.png").stat().st_size > 10_000
    looked_at(tmp_path / "quick_digits.html", maps=4)


@needs_chromium
def test_what_was_trained_can_be_scored_anew(tmp_path: Path) -> None:
    study = tiny("dnn")
    study.run(quick=True, device="cpu", out=tmp_path)
    tables = [tmp_path / f"quick_digits_{what}.csv" for what in ("training", "profiles")]
    training, profiles = (pd.read_csv(table) for table in tables)
    training.assign(score=7.0, accuracy=training["accuracy"] + 0.5).to_csv(tables[0], index=False)
    study.run(quick=True, device="cpu", out=tmp_path, rescore=True)
    found, same = (pd.read_csv(table) for table in tables)
    columns = ["weight_variance", "depth", "loss"]
    found = found.sort_values(columns, ignore_index=True)[training.columns]
    expected = training.sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected.assign(accuracy=expected["accuracy"] + 0.5))
    pd.testing.assert_frame_equal(same, profiles)


class TestFloorDepths:
    def profiles(self, **by_variance: list[float]) -> pd.DataFrame:
        return pd.concat(
            pd.DataFrame(
                {
                    "weight_variance": float(name[1:]),
                    "depth": range(1, len(values) + 1),
                    "differential_entropy": values,
                }
            )
            for name, values in by_variance.items()
        )

    def test_first_layer_on_the_floor(self) -> None:
        found = floor_depths(self.profiles(v1=[-4, -12, -19, -19], v2=[-4, -5, -6, -7]))
        assert found[1.0] == 3
        assert math.isnan(found[2.0])

    def test_nearly_on_the_floor_is_on_it(self) -> None:
        nearly = -19 + 15 * FLOOR_SHARE * 0.9
        assert floor_depths(self.profiles(v1=[-4, -12, nearly, -19]))[1.0] == 3


def test_pooled_images_are_averages() -> None:
    digits = load(Data.DIGITS)
    small = pooled(digits, 2)
    assert small.train.shape == (1438, 1, 4, 4)
    assert float(small.train.mean()) == pytest.approx(float(digits.train.mean()), rel=1e-5)


def test_white_noise_has_the_size_of_mnist() -> None:
    assert load(Data.WHITE_NOISE).train.shape == (60_000, 1, 28, 28)


@needs_chromium
def test_without_training(tmp_path: Path) -> None:
    study = tiny("dnn")
    scale = replace(study.scales["quick"], trained_variances=(), trained_depths=())
    replace(study, scales={"other": scale}).run(scale="other", device="cpu", out=tmp_path)
    assert "AUROC" not in (tmp_path / "other_digits.md").read_text()
    looked_at(tmp_path / "other_digits.html", maps=4)


def test_tf32_is_a_result_of_its_own(tmp_path: Path) -> None:
    for tf32 in (False, True):
        tiny("cnn").run(quick=True, train=False, device="cpu", tf32=tf32, seed=1, out=tmp_path)
    exact, rounded = (
        pd.read_csv(tmp_path / f"quick_digits{name}_seed1_profiles.csv") for name in ("", "_tf32")
    )
    difference = (exact["relative_entropy"] - rounded["relative_entropy"]).abs()
    assert 0 < difference.max() < 0.01
    assert (
        "updates, 2-d convolutions in TF32; "
        in (tmp_path / "quick_digits_tf32_seed1.md").read_text()
    )
    assert "TF32" not in (tmp_path / "quick_digits_seed1.md").read_text()


def test_a_scale_that_is_unknown() -> None:
    with pytest.raises(typer.BadParameter, match="'huge' is not one of quick"):
        tiny("dnn").run(scale="huge")
