from __future__ import annotations

import json

import optuna
import pytest
import torch

from recent_prune import probe
from recent_prune.optuna import attributes, probe_trial
from recent_prune.optuna.stored_images import MOST_LAYERS, check, from_attribute, to_attribute
from tests.networks import mlp
from tests.optuna.studies import DIGITS

X = DIGITS.train


def test_what_is_stored_comes_back() -> None:
    result = probe(mlp(depth=12), X, reconstruct=DIGITS.test[:2])
    known = to_attribute(result)
    assert len(json.dumps(known)) < 3_000
    found = from_attribute(json.loads(json.dumps(known)))
    assert result.reconstructions is not None
    assert found.inputs.shape == (2, *DIGITS.test.shape[1:])
    assert torch.allclose(found.inputs, DIGITS.test[:2], atol=1 / 255)
    assert found.layers[0] == result.layers[0]
    assert found.layers[-1] == result.layers[-1]
    assert len(found.layers) == len(found.retained) == len(found.by_layer) == MOST_LAYERS
    clipped = result.reconstructions.by_layer[-1].clamp(
        DIGITS.test[:2].min(), DIGITS.test[:2].max()
    )
    assert torch.allclose(found.by_layer[-1], clipped, atol=1 / 255)


def test_what_is_not_finite_is_dark() -> None:
    result = probe(mlp(depth=12, weight_variance=1e30), X * 1e30, reconstruct=X[:1] * 1e30)
    found = from_attribute(to_attribute(result))
    assert bool(torch.isfinite(found.by_layer).all())


def test_a_trial_keeps_them() -> None:
    trial = optuna.create_study().ask()
    probe_trial(trial, mlp(depth=3), X, reconstruct=X[:1])
    assert trial.user_attrs[attributes.RECONSTRUCTIONS]["shape"][:2] == [4, 1]
    other = optuna.create_study().ask()
    probe_trial(other, mlp(depth=3), X)
    assert attributes.RECONSTRUCTIONS not in other.user_attrs


@pytest.mark.parametrize("shape", [(5, 64), (1, 3, 224, 224), (0, 64)])
def test_too_much_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="`reconstruct` must be at most 4 samples of at most 4096"):
        check(torch.zeros(shape))


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(TypeError, match="`reconstruct` must be a tensor, but got ndarray"):
        check(X[:1].numpy())  # type: ignore[arg-type]
    for wrong in (torch.tensor(1.0), torch.zeros(2), torch.zeros(2, 12, dtype=torch.int64)):
        with pytest.raises(ValueError, match="`reconstruct` must be floating samples"):
            check(wrong)
