"""Other people's searches on a made-up table, alone and behind rung zero."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.pruners import NopPruner
from optuna.samplers import CmaEsSampler
from optuna.trial import TrialState
from torch import nn

from benchmarks.compute_saved.optuna_replay import Ran, new_study, replay
from benchmarks.compute_saved.outcome import costs
from benchmarks.compute_saved.peers.learners import (
    BEFORE,
    EarlyLookPruner,
    ForestSampler,
    NumericSampler,
    early_scores,
    numbers_of_first_epoch,
)
from benchmarks.compute_saved.peers.measure import is_there
from benchmarks.compute_saved.peers.methods import EARLY, METHODS, RANDOM, behind
from benchmarks.compute_saved.peers.search import Search, labelled, unlabelled
from benchmarks.compute_saved.peers.symptoms import PATIENCE, BTTacklerPruner
from benchmarks.compute_saved.table import Trained
from recent_prune import Training, probe
from recent_prune.data import load_digits
from recent_prune.networks import mlp

EPOCHS = 9


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Forty configurations, the lower the rate the better; the latter half is dead."""
    digits = load_digits()
    batches = [(digits.train[i : i + 64], digits.train_labels[i : i + 64]) for i in (0, 64, 128)]
    training = Training(nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, 0.1), budget=200)
    healthy = probe(mlp(64, 10, depth=3, width=32, weight_variance=1.5), batches, training=training)
    dead = probe(mlp(64, 10, depth=40, width=32, weight_variance=0.05), batches, training=training)
    ends = np.linspace(0.9, 0.2, 40)[:, None]
    cost = np.arange(1.0, EPOCHS + 1) * (1 + np.arange(40))[:, None]
    gradients = np.ones((40, EPOCHS, 3))
    return Trained(
        name="made up",
        parameters=[
            {"depth": 2 + i % 7, "kind": "ab"[i % 2], "skip": i % 3 == 0, "rate": 0.01 * (i + 1)}
            for i in range(40)
        ],
        accuracy=ends * np.linspace(0.5, 1, EPOCHS),
        loss=(1 - ends) + np.linspace(1, 0.1, EPOCHS),
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


OTHER = FloatDistribution(0, 1)


def never(_: Sequence[Ran]) -> bool:
    return False


def ill(trained: Trained, **changed: np.ndarray) -> Trained:
    values = {name: getattr(trained, name) for name in Trained.__dataclass_fields__}
    return Trained(**{**values, **changed})


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [n for n in METHODS if EARLY not in n])  # it reads tables
def test_each_method_pays_once_for_what_it_draws(trained: Trained, name: str) -> None:
    if not is_there(name):
        pytest.skip(f"{METHODS[name].peer.needs} is not installed: pip install -e '.[peers]'")
    some = METHODS[name].peer.slow
    ran = METHODS[name](trained, 3, lambda ran: some and len(ran) >= 14)
    assert len(ran) >= 14
    again = METHODS[name](trained, 3, lambda ran: len(ran) >= 10)
    assert ran[:10] == again  # of the same seed, and ends when it is enough
    so_far: dict[int, int] = {}
    probed = Counter(r.index for r in ran if r.probed)
    for one in ran:
        assert one.since == so_far.get(one.index, 0)
        assert one.epochs > one.since or one.condemned
        so_far[one.index] = one.epochs
    paid = dict.fromkeys(so_far, 0.0)
    for one, cost in zip(ran, costs(trained, ran, "seconds"), strict=True):
        paid[one.index] += float(cost)
    for index, epochs in so_far.items():
        candidate = 0.1 * probed[index]
        assert paid[index] == pytest.approx(epochs * (1 + index) + candidate)
    rung = METHODS[name].ranked or "1/8" in name
    assert set(probed.values()) == ({1} if rung else set())
    if METHODS[name].ranked:
        assert sum(so_far[i] > 0 for i in so_far if i >= 20) == 0  # dead ones are condemned


@pytest.mark.skipif(not is_there("SMAC Hyperband"), reason="smac is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_smacs_hyperband_takes_trainings_up_again(trained: Trained) -> None:
    ran = METHODS["SMAC Hyperband"](trained, 0, never)
    first = [r for r in ran if r.since == 0]
    order = np.random.default_rng(0).permutation(40)
    assert [r.index for r in first] == order[: len(first)].tolist()
    assert {(r.since, r.epochs) for r in ran} <= {(0, 1), (1, 3), (3, 9), (0, 3), (0, 9)}
    bracket = ran[:13]  # nine, of them three, of them one
    assert [r.epochs for r in bracket] == [1] * 9 + [3] * 3 + [9]
    assert {r.index for r in bracket[9:12]} == set(sorted(r.index for r in bracket[:9])[:3])


@pytest.mark.skipif(not is_there("Syne Tune BOHB"), reason="syne-tune is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_what_syne_tune_draws_at_random_is_the_tables_order(trained: Trained) -> None:
    by_chance = [r.index for r in METHODS[RANDOM](trained, 5, never)]
    drawn = [r.index for r in METHODS["Syne Tune BOHB"](trained, 5, never)]
    model = next(i for i in range(40) if drawn[i] != by_chance[i])
    assert model >= 27  # by then 15 % are more than there are parameters
    learnt = METHODS["Syne Tune CQR"](trained, 5, lambda ran: len(ran) >= 16)
    assert [r.index for r in learnt[:5]] == by_chance[:5]
    assert np.mean([r.index for r in learnt[5:]]) < np.mean(by_chance[5:16])


@pytest.mark.skipif(not is_there("Syne Tune ASHA"), reason="syne-tune is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_syne_tunes_asha_draws_as_random_search_does_and_stops_at_its_rungs(
    trained: Trained,
) -> None:
    ran = METHODS["Syne Tune ASHA"](trained, 4, never)
    assert [r.index for r in ran] == [r.index for r in METHODS[RANDOM](trained, 4, never)]
    assert {r.epochs for r in ran} == {1, 3, 9}
    assert sum(r.epochs == 1 for r in ran) > 15


def test_a_search_draws_the_nearest_that_is_left(trained: Trained) -> None:
    search = Search(trained, 0, never, ranked=False)
    drawn_so_far = [search.draw(trained.parameters[i]) for i in (6, 6, 9)]
    assert (drawn_so_far[0], drawn_so_far[2]) == (6, 9)
    assert drawn_so_far[1] != 6
    assert sorted(search.order) == list(range(40))
    left = [i for i in search.order if i not in drawn_so_far]
    assert search.draw() == left[0]  # the next at random
    drawn = [search.draw(trained.parameters[0]) for _ in range(36)]
    assert len({*drawn, *drawn_so_far, left[0]}) == 40
    assert search.over
    assert not search.enough


def test_a_search_is_judged_by_the_real_pruner(trained: Trained) -> None:
    search = Search(trained, 0, never, ranked=True)
    assert not search.goes_on(30)  # dead
    assert search.ran == [Ran(30, 0, probed=True, condemned=True)]
    gone_on = [i for i in range(20) if search.goes_on(i)]
    assert 1 <= len(gone_on) <= 6
    assert search.train(gone_on[0], 3, ended=False) == trained.accuracy[gone_on[0], 2]
    search.train(gone_on[0], EPOCHS, ended=False)
    assert search.ran[-2:] == [
        Ran(gone_on[0], 3, probed=True),
        Ran(gone_on[0], EPOCHS, since=3),
    ]
    study = search._study
    assert study is not None
    states = Counter(t.state for t in study.trials)
    assert states == {
        TrialState.COMPLETE: 1,
        TrialState.RUNNING: len(gone_on) - 1,
        TrialState.PRUNED: 21 - len(gone_on),
    }


def test_truth_values_are_texts_and_come_back(trained: Trained) -> None:
    said = labelled(trained.parameters[3])
    assert said["skip"] == "True"
    assert said["kind"] == "b"
    assert unlabelled(trained, said) == trained.parameters[3]
    assert unlabelled(trained, {**said, "skip": True}) == trained.parameters[3]


def test_bttacklers_symptoms(trained: Trained) -> None:
    gradients = np.ones((40, EPOCHS, 3))
    gradients[0] = 1e-6, 1e-6, 1e-6  # vanished
    gradients[1] = 1e5, 1e5, 1e5  # exploded
    gradients[2] = 1e-9, 1.0, 1.0  # neighbours differ: depth 4, a thousandfold
    gradients[3] = 1e-30, 1.0, 1.0  # depth 5, 3e-8 each
    gradients[4] = np.nan
    gradients[14] = 1e-7, 10.0, 10.0  # neither, but depth 2
    loss = trained.loss.copy()
    loss[[*range(6), 14]] += 5  # none of the tenth that is protected
    loss[5, 2:] = loss[5, 2]  # nothing gained from the third epoch on
    loss[6:8] = np.nan
    loss[7] = 1e-3  # the least, so it is protected
    gradients[7] = 1e-6
    table = ill(trained, gradients=gradients, loss=loss)
    ran = replay(new_study(table, BTTacklerPruner(table), "random", 1), table, 40)
    assert ran[0].index > 7  # the first of all has the least loss so far, whatever it is
    epochs = {r.index: r.epochs for r in ran}
    assert [epochs[i] for i in (0, 1, 3, 4, 14)] == [1, 1, 1, 1, 1]
    assert epochs[2] == EPOCHS
    assert epochs[5] == PATIENCE + 3
    assert epochs[6] == PATIENCE + 1
    assert epochs[7] == EPOCHS
    assert all(epochs[i] == EPOCHS for i in range(8, 40) if i != 14)


def test_the_forest_picks_what_looks_like_the_best_so_far(trained: Trained) -> None:
    study = new_study(trained, NopPruner(), ForestSampler(trained, 0), 0)
    drawn = [r.index for r in replay(study, trained, 40)]
    assert sorted(drawn) == list(range(40))
    by_chance = np.random.default_rng(0).permutation(40)[:BEFORE].tolist()
    assert drawn[:BEFORE] == by_chance
    assert np.mean(drawn[BEFORE : BEFORE + 8]) < 10  # of the forty, those of low rates
    with pytest.raises(AssertionError, match="other"):
        ForestSampler(trained, 0).sample_independent(study, study.trials[0], "other", OTHER)


def test_an_early_look_trains_the_best_share(trained: Trained) -> None:
    scores = trained.accuracy[:, 0]
    ran = replay(new_study(trained, EarlyLookPruner(trained, scores), "random", 2), trained, 40)
    assert {r.epochs for r in ran} == {1, EPOCHS}
    whole = [r.index for r in ran if r.epochs == EPOCHS]
    assert 3 <= len(whole) <= 9
    assert np.mean([i < 10 for i in whole]) > 0.5


def test_early_scores_are_fitted_to_other_spaces_alone(trained: Trained) -> None:
    others = [trained.subset(np.arange(40) % 2 == k, f"{k}") for k in (0, 1)] * 3
    found = early_scores(trained, others)
    assert np.corrcoef(found, trained.final)[0, 1] > 0.9
    # Where what begins best ends worst, that is learnt, whatever the own table says.
    turned = [ill(o, accuracy=np.c_[o.accuracy[:, :-1], o.final[::-1]]) for o in others]
    assert np.corrcoef(early_scores(trained, turned), trained.final)[0, 1] < -0.9


def test_numbers_that_are_not_finite_are_missing(trained: Trained) -> None:
    loss, gradients = trained.loss.copy(), trained.gradients.copy()
    loss[0, 0], gradients[1, 0, 2] = math.inf, 0.0
    found = numbers_of_first_epoch(ill(trained, loss=loss, gradients=gradients))
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 4])
    assert np.isnan(found).sum() == 2
    assert found[5, 0] == trained.accuracy[5, 0]


def test_a_sampler_of_numbers_gets_no_categories(trained: Trained) -> None:
    sampler = NumericSampler(trained, 0, CmaEsSampler(seed=0, n_startup_trials=1))
    study = new_study(trained, NopPruner(), sampler, 0)
    ran = replay(study, trained, 20)
    assert len({r.index for r in ran}) == 20
    asked = sampler.sample_relative(study, study.ask()._cached_frozen_trial, trained.distributions)
    assert set(asked) == set(trained.distributions)
    assert asked["kind"] in ("a", "b")
    with pytest.raises(AssertionError, match="other"):
        sampler.sample_independent(study, study.trials[0], "other", OTHER)


def test_names_of_methods() -> None:
    assert behind(RANDOM) == "keep 1/8"
    alone = [name for name, method in METHODS.items() if not method.ranked]
    assert {behind(n) for n in alone if METHODS[n].peer.ranked} == set(METHODS) - set(alone)
