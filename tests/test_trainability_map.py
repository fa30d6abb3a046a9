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
    assert table["cause"].isna().tolist() == table["trainable"].tolist()
    alone = probe(seeded(build, {"depth": 40, "gain": 1.2}, 3), X, seed=3)
    assert table["retained"].iloc[3] == pytest.approx(alone.retained[-1], abs=1e-3)
    assert table["layers"].iloc[3] == 40


def test_an_argument_keeps_its_values_whatever_is_probed() -> None:
    """Two linear layers a block, so that there are twice as many layers as the depth says."""

    def twice(gain: float, depth: int) -> nn.Module:
        return build(2 * depth, gain)

    table = trainability_map(twice, GAIN, Axis("depth", (2, 5)), X, progress=False)
    assert table["depth"].tolist() == [2, 2, 5, 5]
    assert table["layers"].tolist() == [4, 4, 10, 10]


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


def test_one_that_does_not_fit_on_the_device_harms_no_other() -> None:
    class Large(nn.Module):
        def _apply(self, *_: object) -> nn.Module:
            raise torch.OutOfMemoryError("too large")

    def factory(gain: float, depth: int) -> nn.Module:
        return Large() if depth == 40 else build(depth, gain)

    table = trainability_map(factory, GAIN, DEPTH, X, progress=False)
    assert table["error"].isna().tolist() == [True, True, False, False]
    assert table["error"].iloc[2] == "OutOfMemoryError: too large"


def test_random_states_of_other_devices_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    seeded(build, {}, 7)
    assert seeds == []


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (DEPTH, {}, "`x` and `y` must be different arguments"),
        (Axis("retained", (1, 2)), {}, "cannot be called 'retained', as one of its other columns"),
        (GAIN, {"gain": 3}, "'gain' must be an axis or one of `arguments`, but is both"),
    ],
)
def test_names_that_clash(x: Axis, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainability_map(build, x, DEPTH, X, arguments=arguments)


def test_axes() -> None:
    assert Axis.between("depth", 2, 100, 4).values == (2, 7, 27, 100)  # a ratio of 50
    assert Axis.between("depth", 2, 100, 3, log=False).values == (2, 51, 100)
    assert Axis.between("gain", 0.5, 4.0, 3).values == (0.5, 2.25, 4.0)
    assert Axis.between("depth", 1, 3).values == (1, 2, 3)
    close = Axis.between("gain", 1e6, 1e6 + 1.0, 4).values
    assert close == pytest.approx((1e6, 1e6 + 1 / 3, 1e6 + 2 / 3, 1e6 + 1), abs=0.01)


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
