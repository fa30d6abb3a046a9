"""Replays of trainings: what a method would have cost and found."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import NopPruner, SuccessiveHalvingPruner

from benchmarks.compute_saved import report
from benchmarks.compute_saved.curves import best_so_far, figure
from benchmarks.compute_saved.methods import FIRST_BATCH, METHODS, ONE_EPOCH, OURS, TOP
from benchmarks.compute_saved.optuna_replay import Ran, Sampler, TableSampler, new_study, replay
from benchmarks.compute_saved.outcome import cost_to, costs, outcome
from benchmarks.compute_saved.spaces import SPACES, Configuration
from benchmarks.compute_saved.table import Trained, load
from benchmarks.compute_saved.train import assembled, measure, probed, train
from recent_prune import probe
from recent_prune.data import Images, load_digits
from recent_prune.networks import mlp

EPOCHS = 9


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Forty configurations: a tenth trains at once, a tenth late, the rest never."""
    x = load_digits().train
    healthy = probe(mlp(64, 10, depth=3, width=32, weight_variance=1.5), x)
    dead = probe(mlp(64, 10, depth=40, width=32, weight_variance=0.05), x)
    # No ties: successive halving promotes all that are equal.
    accuracy = np.tile(np.linspace(0.12, 0.09, 40)[:, None], EPOCHS)
    accuracy[:4] = np.linspace(0.6, 0.9, EPOCHS) + 0.002 * np.arange(4)[:, None]
    accuracy[4:8, 6:] = 0.895
    loss = np.ones((40, EPOCHS))
    loss[39] = np.nan
    gradients = np.ones((40, EPOCHS, 3))
    gradients[30:35, :, 0] = 1e-12
    gradients[35:39, :, 2] = 1e6
    cost = np.arange(1.0, EPOCHS + 1) * (1 + np.arange(40))[:, None]
    return Trained(
        name="made up",
        parameters=[
            {"depth": 2 + i, "kind": "ab"[i % 2], "rate": 0.01 * (i + 1)} for i in range(40)
        ],
        accuracy=accuracy,
        loss=loss,
        seconds=cost,
        flops=1e9 * cost,
        gradients=gradients,
        probes=[healthy if i < 20 else dead for i in range(40)],
        probe_seconds=np.full(40, 0.1),
        probe_flops=np.full(40, 1e8),
        first_gradients=gradients[:, 0],
        first_seconds=np.full(40, 0.01),
        first_flops=np.full(40, 1e7),
    )


def test_without_pruning_everything_is_trained_in_full(trained: Trained) -> None:
    ran = METHODS["none"](trained, "random", 0, 40)
    assert sorted(r.index for r in ran) == list(range(40))
    found = outcome(trained, ran)
    assert found.total["flops"] == pytest.approx(trained.flops[:, -1].sum())
    assert found.first["seconds"] == pytest.approx(trained.seconds[:, 0].sum())
    assert (found.rank, found.regret, found.good_lost, found.late) == (1, 0, 0, 4)


def test_ours_pays_probes_and_trains_what_passes(trained: Trained) -> None:
    found = outcome(trained, METHODS[OURS](trained, "random", 0, 40))
    assert found.total["flops"] == pytest.approx(trained.flops[:20, -1].sum() + 40 * 1e8)
    assert (found.condemned, found.good_condemned, found.late_lost) == (20, 0, 0)


def test_random_search_draws_the_same_for_every_method(trained: Trained) -> None:
    drawn = {m: [r.index for r in run(trained, "random", 3, 25)][:25] for m, run in METHODS.items()}
    assert len({tuple(order) for order in drawn.values()}) == 1
    assert len(set(drawn["none"])) == 25


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_one_epoch_trains_the_best_of_the_first_epoch(trained: Trained, sampler: Sampler) -> None:
    ran = METHODS[ONE_EPOCH](trained, sampler, 1, 40)
    assert [r.epochs for r in ran] == [1] * 40 + [EPOCHS] * TOP
    assert sorted(r.index for r in ran[40:]) == list(range(4 - TOP, 4))
    found = outcome(trained, ran)
    assert (found.late_lost, found.good_lost) == (4, 4 + 4 - TOP)
    full = trained.seconds[4 - TOP : 4, -1] - trained.seconds[4 - TOP : 4, 0]
    assert found.total["seconds"] == pytest.approx(trained.seconds[:, 0].sum() + full.sum())
    assert found.first["seconds"] == pytest.approx(trained.seconds[:, 0].sum())


def test_tpe_learns_from_the_table(trained: Trained) -> None:
    study = new_study(trained, NopPruner(), "tpe", 0)
    drawn = [r.index for r in replay(study, trained, 25)]
    assert len(set(drawn)) == 25
    assert sum(index < 8 for index in drawn) >= 6  # at random: five
    assert [t.params for t in study.trials] == [trained.parameters[i] for i in drawn]


def test_successive_halving_stops_at_its_rungs(trained: Trained) -> None:
    pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    ran = replay(new_study(trained, pruner, "random", 0), trained, 40)
    assert {r.epochs for r in ran} <= {1, 3, EPOCHS}
    assert sum(r.epochs == 1 for r in ran) > 15


def test_symptoms_stop_what_vanishes_or_explodes(trained: Trained) -> None:
    epochs = {r.index: r.epochs for r in METHODS["gradient symptoms"](trained, "random", 0, 40)}
    assert [i for i in range(40) if epochs[i] == 1] == list(range(30, 39))


def test_symptoms_are_there_at_the_first_batch(trained: Trained) -> None:
    ran = METHODS[FIRST_BATCH](trained, "random", 0, 40)
    assert sorted(r.index for r in ran if r.first_batch) == list(range(30, 39))
    found = outcome(trained, ran)
    kept = [i for i in range(40) if i not in range(30, 39)]
    assert found.total["seconds"] == pytest.approx(trained.seconds[kept, -1].sum() + 9 * 0.01)


def test_hyperband_does_the_same_again(trained: Trained) -> None:
    runs = [METHODS["Hyperband"](trained, "random", 0, 40) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_a_loss_that_is_not_finite_is_reported_as_such(trained: Trained) -> None:
    epochs = {r.index: r.epochs for r in METHODS["NaN or below chance"](trained, "random", 0, 40)}
    assert epochs[39] == 1
    assert epochs[0] == EPOCHS


def test_costs(trained: Trained) -> None:
    ran = [Ran(0, 0, probed=True, condemned=True), Ran(2, 3, probed=True), Ran(1, EPOCHS)]
    assert costs(trained, ran, "seconds").tolist() == pytest.approx([0.1, 9.1, 18.0])
    assert costs(trained, ran, "seconds", 1).tolist() == pytest.approx([0.1, 3.1, 2.0])
    assert cost_to(trained, ran, "seconds", 0.9) == pytest.approx(27.2)
    assert cost_to(trained, ran, "seconds", 0.95) == np.inf


def test_positions_are_in_the_unit_cube(trained: Trained) -> None:
    assert trained.distributions["rate"] == FloatDistribution(0.01, 0.4, log=True)
    assert trained.distributions["kind"] == CategoricalDistribution(["a", "b"])
    assert trained.positions.shape == (40, 4)
    assert np.square(trained.positions[0] - trained.positions[1])[1:3].sum() == pytest.approx(1)
    assert trained.position(trained.parameters[7]) == pytest.approx(trained.positions[7])


def test_independent_parameters_are_refused(trained: Trained) -> None:
    study = new_study(trained, NopPruner(), "random", 0)
    with pytest.raises(AssertionError, match="other"):
        study.ask().suggest_float("other", 0, 1)
    assert isinstance(study.sampler, TableSampler)


def test_page_and_picture(trained: Trained) -> None:
    rows = [
        {
            "space": space,
            "sampler": "random",
            "seed": seed,
            "method": method,
            **{f"{part}_flops": 1.0 + seed for part in ("total", "first", "to_target")},
            **{f"{part}_seconds": 1.0 for part in ("total", "first", "to_target")},
            "best": 0.9,
            "regret": 0.01 * len(method),
            "rank": 1,
            "condemned": 0,
            "good_condemned": 0,
            "good_lost": 0,
            "late_lost": 0,
            "late": 1,
        }
        for space in ("wild_mnist", "wild_mnist, plain", "wild_cifar10", "slow", "benign")
        for seed in range(4)
        for method in METHODS
    ]
    runs = pd.DataFrame(rows)
    certified = pd.DataFrame({"calibrated": [False], "why": ["Too few good trials."]})
    text = report.page(runs, certified, {"wild_mnist": trained, "slow": trained})
    assert "| slow: late trainers lost by ours | 0 | 0% of those drawn (4 networks) |" in text
    assert "Too few good trials." in text
    figure = report.pareto(runs, "slow")
    assert {trace.name for trace in figure.data} >= {"alone", "with ours in front"}


def test_without_pruning_is_no_peer() -> None:
    rows = [
        {"seed": seed, "method": method, "to_target_flops": cost}
        for seed in range(3)
        for method, cost in {"none": 1.0, "ours": 1.0, "Median": 2.0, "ASHA (Tune)": 1.0}.items()
    ]
    assert report.best_peer(pd.DataFrame(rows)) == "Median"


def test_networks_begin_in_training_mode() -> None:
    for configuration in SPACES["benign"].sample()[:8]:
        model = configuration.build(torch.zeros(1, 14, 14))
        assert all(module.training for module in model.modules())


def sampled(name: str) -> list[Configuration]:
    sample = SPACES[name].sample()
    assert all(isinstance(configuration, Configuration) for configuration in sample)
    return sample  # type: ignore[return-value]


def test_everyday_trials_are_those_that_people_sweep_over() -> None:
    sample = SPACES["everyday"].sample()
    assert len(sample) >= 300
    columns = [configuration.columns() for configuration in sample]
    assert {c["optimizer"] for c in columns} == {"adam", "rmsprop", "sgd", "momentum"}
    assert {c["family"] for c in columns} == {"mlp", "cnn", "deep mlp", "vit"}
    assert {c["batch_size"] for c in columns} == {32, 128}
    rates = [c["learning_rate"] for c in columns]
    assert 1e-5 < min(rates) < 3e-5
    assert 0.3 < max(rates) < 1
    image = torch.zeros(1, 14, 14)
    for configuration in sample[:12]:
        model = configuration.build(image).eval()
        assert model(image[None]).shape == (1, 10)
        assert configuration.make_optimizer(model.parameters()).param_groups[0]["lr"] < 1


def test_a_diverged_training_goes_on_at_the_same_price() -> None:
    digits = load_digits()
    small = Images("digits", digits.train, digits.train_labels, digits.test, digits.test_labels)
    base = sampled("slow")[0]
    table = train(replace(base, learning_rate=1e30), small, 4)
    assert not math.isfinite(table["loss"].iloc[-1])
    assert table["seconds"].is_monotonic_increasing
    assert table["seconds"].iloc[3] == pytest.approx(4 * table["seconds"].iloc[0])


def test_spaces_have_their_own_configurations() -> None:
    indices = [c.index for space in SPACES.values() for c in space.sample()]
    assert len(set(indices)) == len(indices)
    assert all(space.sample() == space.sample() for space in SPACES.values())
    columns = SPACES["default"].sample()[0].columns()
    assert set(SPACES["default"].parameters) < set(columns)


def test_default_initialization_is_pytorchs() -> None:
    model = sampled("default")[0].build(torch.zeros(1, 14, 14))
    weights = [p for p in model.parameters() if p.dim() == 2]
    assert weights[1].detach().var() * weights[1].shape[1] == pytest.approx(1 / 3, rel=0.05)
    again = sampled("default")[0].build(torch.zeros(1, 14, 14))
    assert torch.equal(again[-1].weight, model[-1].weight)  # type: ignore[arg-type]


def test_tables_come_back_from_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_digits()
    small = Images(
        "digits", digits.train[:256], digits.train_labels[:256], digits.test, digits.test_labels
    )
    monkeypatch.setattr("benchmarks.compute_saved.train.images", lambda *_: small)
    sample = sampled("default")[:2]
    paths = [tmp_path / f"{c.index}.json" for c in sample]
    for configuration, path in zip(sample, paths, strict=True):
        measure(("default", configuration, tmp_path, path))
    before = paths[0].stat().st_mtime_ns
    measure(("default", sample[0], tmp_path, paths[0]))
    assert paths[0].stat().st_mtime_ns == before  # kept
    measure(("default", sample[1], tmp_path, paths[0]))
    assert paths[0].stat().st_mtime_ns != before  # another configuration's
    measure(("default", sample[0], tmp_path, paths[0]))
    trained, probes = assembled(paths)
    trained.to_parquet(tmp_path / "default_trained.parquet")
    probes.to_parquet(tmp_path / "default_probed.parquet")
    known = load("default", tmp_path)
    assert known.accuracy.shape == (2, 10)
    assert known.probes[0] == probed(sample[0], small, 10)[0]
    assert known.parameters[0]["learning_rate"] == sample[0].learning_rate
    again = train(sample[0], small, 2)
    assert again["accuracy"].tolist() == known.accuracy[0, :2].tolist()


def test_the_best_value_so_far(trained: Trained) -> None:
    ran = [Ran(30, 0, probed=True, condemned=True), Ran(30, 1), Ran(2, EPOCHS), Ran(31, 1)]
    # The trials end at 0.1e9, 31.1e9, 58.1e9 and 90.1e9 operations.
    found = best_so_far(trained, ran, np.asarray([0.0, 1e8, 31.1e9, 60e9, 1e12]))
    assert np.isnan(found[:2]).all()
    assert found[2] == trained.accuracy[30, 0]
    assert found[3] == found[4] == trained.final[2]


def test_curves_of_methods_with_ours_and_without(trained: Trained) -> None:
    names = [line.name for line in figure(trained, 40, 2).data]
    assert names[:4] == ["none", OURS, "SuccessiveHalving", f"{OURS} + SuccessiveHalving"]
