from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.probe import groups
from recent_prune.probe.watching.stack import (
    observe_stacked,
)
from tests.networks import Noisy, Tokens, mlp
from tests.probe.many_models import BUILDERS, TRAINING, Broken, assert_close


@pytest.mark.parametrize("kind", BUILDERS)
def test_same_results_as_one_by_one(digits: Tensor, kind: str) -> None:
    models = [BUILDERS[kind](i) for i in range(5)]
    for one, model in zip(rp.probe_many(models, digits), models, strict=True):
        assert_close(one, rp.probe(model, digits))


def test_stacks_are_what_runs(digits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare the loop with itself."""
    stacked: list[int] = []

    def counted(models: Any, *arguments: Any) -> Any:
        found = original(models, *arguments)
        stacked.append(len(models))
        return found

    original = observe_stacked
    monkeypatch.setattr(groups, "observe_stacked", counted)
    for kind, build in BUILDERS.items():
        stacked.clear()
        rp.probe_many([build(i) for i in range(5)], digits)
        assert stacked == ([] if kind in ("recurrent", "control flow") else [4]), kind


def test_tokens_have_their_own_embedding_each() -> None:
    models, tokens = [Tokens() for _ in range(3)], torch.randint(0, 50, (200, 6))
    for one, model in zip(rp.probe_many(models, tokens), models, strict=True):
        assert_close(one, rp.probe(model, tokens))


def test_order_is_that_of_the_models_whatever_their_architecture(digits: Tensor) -> None:
    depths = [2, 5, 3, 2, 5, 5, 3, 2]
    models = (mlp(depth=depth, seed=i) for i, depth in enumerate(depths))
    results = rp.probe_many(models, digits)
    assert [r.depth for r in results if isinstance(r, rp.ProbeResult)] == depths


def test_a_bad_model_has_its_own_error_and_harms_no_other(digits: Tensor) -> None:
    lame = mlp(seed=3)
    lame.hidden2.weight.data.fill_(float("nan"))  # type: ignore[union-attr, operator]
    models: list[Any] = [mlp(), Broken(), nn.Tanh(), "mlp", lame, mlp(seed=1)]
    results = rp.probe_many(models, digits)
    assert_close(results[0], rp.probe(models[0], digits))
    assert_close(results[5], rp.probe(models[5], digits))
    assert isinstance(results[1], RuntimeError)
    assert "(176, 1, 8, 8)" in results[1].__notes__[0]
    assert isinstance(results[2], ValueError)
    assert "no parameters" in str(results[2])
    assert isinstance(results[3], TypeError)
    assert "`model` must be a torch.nn.Module, but got str" in str(results[3])
    assert isinstance(results[4], rp.ProbeResult)
    assert results[4].nonfinite_layer == "tanh2"


def test_one_of_a_stack_that_raises_leaves_the_others(digits: Tensor) -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            if self.body.weight[0, 0] > 1:
                raise ArithmeticError("too large")
            return self.head(self.body(x.flatten(1)))  # type: ignore[no-any-return]

    models = [Picky() for _ in range(4)]
    models[2].body.weight.data[0, 0] = 2
    results = rp.probe_many(models, digits)
    assert isinstance(results[2], ArithmeticError)
    assert sum(isinstance(result, rp.ProbeResult) for result in results) == 3


def test_models_are_untouched(digits: Tensor) -> None:
    models = [Noisy() for _ in range(3)]
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    random = torch.get_rng_state()
    rp.probe_many(models, digits)
    assert torch.equal(torch.get_rng_state(), random)
    for model, state in zip(models, states, strict=True):
        assert model.training
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
        assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_cascade_is_fitted_one_by_one(digits: Tensor) -> None:
    models = [mlp(seed=i) for i in range(2)]
    cascade = rp.Cascade(updates=5)
    for one, model in zip(rp.probe_many(models, digits, estimator=cascade), models, strict=True):
        assert one == rp.probe(model, digits, estimator=cascade)


def test_arguments_are_passed_on(digits: Tensor) -> None:
    models = [mlp(seed=i) for i in range(3)]
    settings: dict[str, Any] = {
        "layers": ["hidden2"],
        "rtol": 0.5,
        "estimator": rp.Ridge(samples=64),
    }
    for one, model in zip(rp.probe_many(models, digits, **settings), models, strict=True):
        assert_close(one, rp.probe(model, digits, **settings))


def test_noise_warns_once() -> None:
    with pytest.warns(UserWarning, match="can be reconstructed from the inputs") as caught:
        rp.probe_many(
            [rp.networks.mlp(3000, 10, depth=d, width=8) for d in (1, 2)], torch.randn(200, 3000)
        )
    assert len(caught) == 1


def test_no_models_no_results(digits: Tensor) -> None:
    assert rp.probe_many([], digits) == []


def test_bad_inputs_are_nobodys_fault() -> None:
    with pytest.raises(ValueError, match="`inputs` must hold at least 16 samples"):
        rp.probe_many([mlp()], torch.rand(3, 64))


@pytest.mark.parametrize("shown", [True, False])
def test_shows_progress(digits: Tensor, capsys: pytest.CaptureFixture[str], shown: bool) -> None:
    rp.probe_many([mlp(), mlp()], digits, progress=shown)
    streams = capsys.readouterr()
    assert ("100%" in streams.err) == shown
    assert streams.out == ""


class InPlace(nn.Module):
    """Changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1).sub_(0.5).mul_(2)
        return self.head(torch.tanh(self.body(x)))  # type: ignore[no-any-return]


def test_models_that_change_their_input_in_place_change_nobody_elses(digits: Tensor) -> None:
    models, inputs = [InPlace() for _ in range(3)], digits[:160].clone()
    labels = torch.arange(160) % 10
    for model in models:
        rp.probe(model, [(inputs, labels)], training=TRAINING)
    alone = [rp.probe(model, inputs) for model in models]
    assert torch.equal(inputs, digits[:160])
    for one, other in zip(rp.probe_many(models, inputs), alone, strict=True):
        assert_close(one, other)
    assert torch.equal(inputs, digits[:160])


class Caching(nn.Module):
    """Keeps a tensor of its first forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)
        self.scale: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = self.body.weight.detach().norm()
        return self.head(self.body(x.flatten(1)) / self.scale)  # type: ignore[no-any-return]


def test_what_models_cache_does_not_come_from_a_stack(digits: Tensor) -> None:
    models = [Caching() for _ in range(4)]
    rp.probe_many(models, digits)
    for model in models:
        model(digits[:3])
        copy.deepcopy(model)


def test_lazy_models_have_their_error(digits: Tensor) -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    good, bad = rp.probe_many([mlp(), lazy], digits)
    assert isinstance(good, rp.ProbeResult)
    assert isinstance(bad, ValueError)
    assert "uninitialized parameter" in str(bad)


@pytest.mark.parametrize("models", [mlp(), {"one": mlp()}])
def test_refuses_what_is_no_list_of_models(digits: Tensor, models: Any) -> None:
    with pytest.raises(TypeError, match=r"`models` must be a list of models, but got (Seq|dict)"):
        rp.probe_many(models, digits)


def test_refuses_layers_that_are_no_names_at_once(digits: Tensor) -> None:
    with pytest.raises(TypeError, match="but got the string 'tanh1'"):
        rp.probe_many([mlp()], digits, layers="tanh1")
