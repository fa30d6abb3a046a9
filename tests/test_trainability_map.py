from __future__ import annotations

import pytest
import torch
from torch import nn

from recent_prune import SaturationRule, probe
from recent_prune.data import load_digits
from recent_prune.trainability_map import Axis, seeded, trainability_map
from tests.cli.factories import build, picky

X = load_digits().train
GAIN = Axis("gain", (0.3, 1.2))
DEPTH = Axis("depth", (2, 40))


def test_each_network_is_probed_as_alone() -> None:
    table = trainability_map(build, GAIN, DEPTH, X, seed=3, progress=False)
    assert list(table.columns[:2]) == ["gain", "depth"]
    assert table[["gain", "depth"]].values.tolist() == [[0.3, 2], [1.2, 2], [0.3, 40], [1.2, 40]]
    assert table["trainable"].tolist() == [True, True, False, True]
    assert table["error"].isna().all()
    alone = probe(seeded(build, {"depth": 40, "gain": 1.2}, 3), X, seed=3)
    assert table["retained"].iloc[3] == pytest.approx(alone.retained[-1], abs=1e-3)
    assert table["depth"].iloc[3] == 40


def test_fixed_arguments_and_another_rule() -> None:
    steps = Axis("steps", (1, 2))

    def factory(gain: float, steps: int, depth: int) -> nn.Module:
        return build(depth * steps, gain)

    table = trainability_map(
        factory, GAIN, steps, X, arguments={"depth": 3}, rule=SaturationRule(), progress=False
    )
    assert table["reason"].str.startswith("The relative entropy").all()


def test_one_that_cannot_be_built_harms_no_other() -> None:
    table = trainability_map(picky, GAIN, DEPTH, X, progress=False)
    assert table["error"].isna().tolist() == [True, True, False, False]
    assert table["error"].iloc[2] == "RuntimeError: too deep: 40"
    assert table["trainable"].iloc[:2].tolist() == [True, True]


def test_random_states_are_left_alone() -> None:
    state = torch.random.get_rng_state()
    trainability_map(build, GAIN, DEPTH, X, progress=False)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_same_axis_twice() -> None:
    with pytest.raises(ValueError, match="`x` and `y` must be different arguments"):
        trainability_map(build, GAIN, GAIN, X)


def test_axes() -> None:
    assert Axis.between("depth", 2, 100, 4).values == (2, 7, 27, 100)  # a ratio of 50
    assert Axis.between("depth", 2, 100, 3, log=False).values == (2, 51, 100)
    assert Axis.between("gain", 0.5, 4.0, 3).values == (0.5, 2.25, 4.0)
    assert Axis.between("depth", 1, 3).values == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 2), "`low` of a must be below `high`, but got 2 and 2"),
        ((2, 3, 1), "`steps` of a must be at least 2, but got 1"),
    ],
)
def test_wrong_axes(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Axis.between("a", *arguments)


def test_a_logarithm_of_nothing() -> None:
    with pytest.raises(ValueError, match="`low` of a must be positive on a log axis, but got 0"):
        Axis.between("a", 0, 2, log=True)


def test_values_ascend() -> None:
    with pytest.raises(ValueError, match="`values` of a must be at least two and ascend"):
        Axis("a", (2, 1))
