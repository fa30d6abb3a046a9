"""What users bring: unusual models and losses are no obstacle, mistakes get a clear error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
    normalize,
)
from torch.utils.data import DataLoader, TensorDataset

import recent_prune as rp
from recent_prune.probe.first_steps.result import FirstSteps
from tests.networks import Noisy, mlp
from tests.probe.first_steps.trials import batches, model_state, random_states, snapshot

DATA = batches()
IMAGES = [images for images, _ in DATA]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1e-2)


def untouched(
    model: nn.Module, inputs: Any, loss: Any = cross_entropy, optimizer: Any = adam, **other: Any
) -> rp.ProbeResult:
    """A probe, after which everything is as it was."""
    before = model_state(model), random_states()
    result = rp.probe(model, inputs, training=rp.Training(loss, optimizer, **other))
    assert (model_state(model), random_states()) == before
    return result


def steps_of(*arguments: Any, **other: Any) -> FirstSteps:
    found = untouched(*arguments, **other).steps
    assert found is not None
    return found


def learns(steps: FirstSteps) -> bool:
    return steps.loss_after < steps.loss_before and steps.nonfinite_step is None


# Models


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_frozen_parameters_stay_and_do_not_count(optimizer: Any) -> None:
    model = Noisy()
    model.body[1].requires_grad_(False)
    result = untouched(model, DATA, optimizer=optimizer)
    steps, gradients = result.steps, result.gradients
    assert steps is not None
    assert gradients is not None
    assert learns(steps)
    assert steps.unreached == pytest.approx(0.0, abs=1e-6)
    assert gradients.layers == ("body.5", "body.7")
    assert len(steps.update_ratios) == 2


class Tied(nn.Module):
    """One matrix twice, and one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)
        self.again = self.head

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(torch.tanh(self.second(x.flatten(1)))))
        return self.again(hidden)  # type: ignore[no-any-return]


def test_shared_parameters_count_once() -> None:
    model = Tied()
    steps = steps_of(model, DATA)
    assert learns(steps)
    assert model.second.weight is model.first.weight
    total = sum(float(p.detach().square().sum()) for p in model.parameters())
    assert steps.weight_norm == pytest.approx(math.sqrt(total), rel=1e-5)


def test_parameters_that_no_gradient_reaches_are_counted() -> None:
    model = mlp()
    model.register_parameter("unused", nn.Parameter(torch.ones(1000)))
    count = sum(p.numel() for p in model.parameters())
    assert steps_of(model, DATA).unreached == pytest.approx(1000 / count, rel=1e-5)


def test_sparse_gradients() -> None:
    tokens = torch.randint(0, 50, (400, 6))
    data = list(zip(tokens.split(40), (tokens[:, 0] % 10).split(40), strict=True))
    found = {}
    for sparse in (True, False):
        torch.manual_seed(1)
        model = nn.Sequential(nn.EmbeddingBag(50, 8, sparse=sparse), nn.Linear(8, 10))
        found[sparse] = steps_of(model, data, optimizer=sgd)
    for name in ("losses", "gradient_norms", "first_update", "update", "first_order", "unreached"):
        assert getattr(found[True], name) == pytest.approx(getattr(found[False], name), rel=1e-4)


def test_lbfgs() -> None:
    steps = steps_of(mlp(), DATA, optimizer=lambda p: torch.optim.LBFGS(p, 0.1, max_iter=4))
    assert learns(steps)
    assert len(steps.losses) == len(steps.gradient_norms) == 6


def test_mixed_precision() -> None:
    model, types = mlp(), set()
    model.head.register_forward_hook(  # type: ignore[union-attr]
        lambda module, args, output: types.add(output.dtype) if module.training else None
    )
    mixed = steps_of(model, DATA, autocast=torch.bfloat16)
    assert types == {torch.bfloat16}
    plain = steps_of(model, DATA)
    assert mixed.losses == pytest.approx(plain.losses, rel=0.05)
    assert mixed.losses != plain.losses


def test_an_autocast_of_the_caller_is_that_of_the_loop() -> None:
    model = mlp()
    expected = steps_of(model, DATA, autocast=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert steps_of(model, DATA).losses == expected.losses
    with torch.inference_mode():
        assert rp.probe(model, DATA, training=rp.Training(cross_entropy, adam)).steps is not None


def test_half_precision_parameters() -> None:
    model = mlp().to(torch.bfloat16)
    data = [(images.to(torch.bfloat16), labels) for images, labels in DATA]
    assert learns(steps_of(model, data))


def test_a_compiled_model_is_unwrapped() -> None:
    model = mlp()
    compiled: Any = torch.compile(model, backend="eager")
    training = rp.Training(cross_entropy, torch.optim.Adam(compiled.parameters(), 1e-2))
    before = model_state(model)
    found = rp.probe(compiled, DATA, training=training)
    assert model_state(model) == before
    assert found == rp.probe(model, DATA, training=rp.Training(cross_entropy, adam))


def test_a_model_that_is_random_in_evaluation_mode_says_so() -> None:
    class Variational(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.tanh(self.first(x.flatten(1)))
            return self.head(hidden + 0.1 * torch.randn_like(hidden))  # type: ignore[no-any-return]

    result = untouched(Variational(), DATA)
    assert result.stochastic
    assert result.steps is not None
    assert result.steps.repeatable  # with equal random numbers


def test_a_model_that_counts_its_calls_is_not_repeatable() -> None:
    class Counting(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.body(x) / self.calls  # type: ignore[no-any-return]

    assert not steps_of(Counting(), DATA).repeatable
    assert steps_of(mlp(), DATA).repeatable


def test_a_large_rate_shows_where_it_stops_being_finite() -> None:
    steps = steps_of(
        rp.networks.mlp(64, 10, depth=3, width=16, activation="relu"),
        DATA,
        mse_of_classes,
        lambda p: torch.optim.SGD(p, 1e30),
    )
    assert steps.nonfinite_step is not None
    assert steps.nonfinite_step >= 2
    assert math.isfinite(steps.losses[0])


def mse_of_classes(output: Tensor, target: Tensor) -> Tensor:
    return mse_loss(output, nn.functional.one_hot(target, 10).to(output.dtype))


def test_nan_from_the_second_step_on() -> None:
    class Poisoned(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            found = super().step(closure)
            self.param_groups[0]["params"][0].data.fill_(math.nan)
            return found

    steps = steps_of(mlp(), DATA, optimizer=lambda p: Poisoned(p, 0.1))
    assert steps.nonfinite_step == 2
    assert math.isfinite(steps.losses[0])
    assert math.isnan(steps.losses[1])
    assert math.isnan(steps.accuracy_after)


def test_nan_after_the_last_step_alone() -> None:
    class Late(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            found = super().step(closure)
            self.param_groups[0]["params"][0].data.fill_(math.inf)
            return found

    steps = steps_of(mlp(), DATA, optimizer=lambda p: Late(p, 0.1), steps=1)
    assert steps.nonfinite_step == 1
    assert math.isfinite(steps.losses[0])


def test_weights_of_nan() -> None:
    model = mlp()
    model.head.weight.data.fill_(math.nan)  # type: ignore[union-attr, operator]
    assert steps_of(model, DATA).nonfinite_step == 1


# Losses


def test_several_labels() -> None:
    data = [(x, torch.stack([y % 2 == 0, y > 4, y == 3], 1).float()) for x, y in DATA]
    steps = steps_of(rp.networks.mlp(64, 3, depth=2, width=16), data, nn.BCEWithLogitsLoss())
    assert learns(steps)
    assert math.isnan(steps.accuracy_before)
    assert 0 < steps.constant_loss < math.log(2) + 1e-6


def test_segmentation() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    data = [(x, (x[:, 0] * 2.99).long()) for x in IMAGES]
    steps = steps_of(model, data)
    assert learns(steps)
    assert steps.chance > 0.3
    assert 0 < steps.accuracy_before < 1
    assert 0 < steps.constant_loss < math.log(3)


def test_regression() -> None:
    model = rp.networks.mlp(64, 1, depth=2, width=16)
    data = [(x, x.mean(dim=(1, 2, 3))[:, None]) for x in IMAGES]
    steps = steps_of(model, data, mse_loss)
    assert learns(steps)
    judged = torch.cat([y for _, y in data[6:]])
    assert steps.constant_loss == pytest.approx(float(judged.var(correction=0)), rel=1e-4)
    assert math.isnan(steps.accuracy_after)
    assert math.isnan(steps.chance)


def test_an_autoencoder_through_call() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 64))
    steps = steps_of(
        model, IMAGES, None, call=lambda model, batch: mse_loss(model(batch), batch.flatten(1))
    )
    assert learns(steps)
    assert math.isnan(steps.constant_loss)
    assert math.isnan(steps.output_change)


def test_a_contrastive_loss_through_call() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))

    def call(model: nn.Module, batch: Any) -> Tensor:
        images, _ = batch
        one, other = (model(images + 0.1 * torch.randn_like(images)) for _ in range(2))
        similar = normalize(one) @ normalize(other).T / 0.2
        return cross_entropy(similar, torch.arange(len(similar)))

    steps = steps_of(model, DATA, None, call=call)
    assert learns(steps)
    assert math.isnan(steps.accuracy_before)


def test_call_with_a_loss_gives_the_output() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, pixels: Tensor, *, scale: float = 1.0) -> Tensor:
            return self.body(pixels * scale)  # type: ignore[no-any-return]

    model = Named()
    called = steps_of(model, DATA, call=lambda model, batch: model(batch[0], scale=1.0))
    assert called == steps_of(model, DATA)


class OwnLoss(nn.Module):
    """As those of Hugging Face: keywords in, an object with loss and logits out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.kind = mlp(), kind

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.body(pixel_values)
        loss = None if labels is None else cross_entropy(logits, labels)
        if self.kind == "tuple":
            return logits if loss is None else (loss, logits)
        if self.kind == "mapping":
            return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}
        return SimpleNamespace(loss=loss, logits=logits)


@pytest.mark.parametrize("kind", ["object", "mapping", "tuple"])
def test_a_model_that_returns_its_own_loss(kind: str) -> None:
    model = OwnLoss(kind)
    data = [{"pixel_values": x, "labels": y} for x, y in DATA]
    found = steps_of(model, data, None)
    plain = steps_of(model.body, DATA)
    assert found.losses == plain.losses
    assert found.update == plain.update
    assert found.loss_after == plain.loss_after
    assert learns(found)
    assert found.output_change == plain.output_change
    assert found.accuracy_after == plain.accuracy_after
    assert found.constant_loss == pytest.approx(plain.constant_loss, rel=1e-2)


def test_a_mapping_with_a_loss_of_the_user() -> None:
    model = mlp()
    data = [{"image": x, "label": y} for x, y in DATA]
    assert steps_of(model, data) == steps_of(model, DATA)


def test_a_loss_of_one_element_is_a_scalar() -> None:
    model = mlp()
    plain = steps_of(model, DATA)
    assert steps_of(model, DATA, lambda o, t: cross_entropy(o, t)[None]).losses == plain.losses


# Mistakes


def fails(
    error: type[Exception],
    message: str,
    model: nn.Module,
    inputs: Any,
    *arguments: Any,
    **other: Any,
) -> str:
    """The notes of an error, after which everything is as it was."""
    before = model_state(model), random_states()
    defaults: list[Any] = [cross_entropy, adam]
    loss, optimizer = [*arguments, *defaults[len(arguments) :]]
    with pytest.raises(error, match=message) as caught:
        rp.probe(model, inputs, training=rp.Training(loss, optimizer, **other))
    assert (model_state(model), random_states()) == before
    return "\n".join(getattr(caught.value, "__notes__", []))


def test_labels_out_of_range() -> None:
    data = [(x, y + 1) for x, y in DATA]
    notes = fails(IndexError, "Target 10 is out of bounds", mlp(), data)
    assert "`loss`, for a batch of (40, 1, 8, 8) float32, (40,) int64" in notes
    assert "before the steps, in batch 1 of 4" in notes


def test_labels_out_of_range_in_the_batches_of_the_steps_alone() -> None:
    data = [(x, y + 1) if number == 2 else (x, y) for number, (x, y) in enumerate(DATA)]
    optimizer = torch.optim.Adam((model := Noisy()).parameters())
    before = snapshot(vars(optimizer))
    notes = fails(IndexError, "is out of bounds", model, data, cross_entropy, optimizer)
    assert "in first step 3 of 6" in notes
    assert snapshot(vars(optimizer)) == before


def test_labels_of_the_wrong_type() -> None:
    data = [(x, y.float()) for x, y in DATA]
    notes = fails(RuntimeError, "(?i)long.*float", mlp(), data)
    assert "`loss`" in notes
    assert "(40,) float32" in notes


def test_inputs_of_the_wrong_shape() -> None:
    data = [(torch.rand(40, 63), y) for _, y in DATA]
    notes = fails(RuntimeError, "shapes cannot be multiplied", mlp(), data)
    assert "the forward pass, for a batch of (40, 63) float32, (40,) int64" in notes


def test_batches_of_one_sample_under_batch_norm() -> None:
    data = DataLoader(TensorDataset(*map(torch.cat, zip(*DATA, strict=True))), batch_size=1)
    notes = fails(ValueError, "more than 1 value per channel", Noisy(), data)
    assert "(1, 1, 8, 8) float32, (1,) int64" in notes


def test_one_sample_that_is_left_over_of_tensors_is_no_obstacle() -> None:
    images, labels = (torch.cat(part) for part in zip(*DATA, strict=True))
    assert learns(steps_of(Noisy(), (images[:65], labels[:65])))


def test_a_loader_that_ends_at_once() -> None:
    message = "`inputs` must yield at least one batch, but it is empty"
    fails(ValueError, message, mlp(), [])
    exhausted: Iterator[Any] = iter(())
    fails(ValueError, message, mlp(), exhausted)


def test_too_few_samples() -> None:
    fails(ValueError, "at least 16 samples, but got 10", mlp(), [(IMAGES[0][:10], DATA[0][1][:10])])


@pytest.mark.parametrize("data", [IMAGES, torch.cat(IMAGES), [(x,) for x in IMAGES]])
def test_labels_that_are_missing(data: Any) -> None:
    fails(ValueError, r"`loss` needs a target, but the batch \(.*\(40|64", mlp(), data)


def test_a_mapping_without_labels() -> None:
    data = [{"image": x} for x in IMAGES]
    fails(ValueError, r"`loss` needs a target, but the batch \(image: \(40, 1, 8, 8\)", mlp(), data)


class Silent(nn.Module):
    """Returns what holds no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor, *labels: Tensor) -> Any:
        return {"logits": self.body(x)}


def test_a_model_that_returns_no_loss_of_its_own() -> None:
    message = r"`loss` is None, so `model` \(Silent\) must return its own, .* returned a dict"
    fails(ValueError, message, Silent(), DATA, None)


def test_a_model_that_returns_its_output_where_a_loss_is_meant() -> None:
    data = [x for x, _ in DATA]
    fails(ValueError, r"`loss` must give a scalar tensor, .* shape \(40, 10\)", mlp(), data, None)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: cross_entropy(o, t, reduction="none"), r"a tensor of shape \(40,\)"),
        (lambda o, t: 3.0, "a float"),
        (lambda o, t: None, "a NoneType"),
        (lambda o, t: (cross_entropy(o, t), 1), "a tuple"),
        (lambda o, t: (o.argmax(1) == t).sum(), r"a tensor of shape \(\), torch.int64"),
    ],
    ids=["unreduced", "number", "nothing", "tuple", "count"],
)
def test_a_loss_that_is_no_scalar(loss: Any, message: str) -> None:
    fails(ValueError, f"`loss` must give a scalar tensor, but gave {message}", mlp(), DATA, loss)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: cross_entropy(o.detach(), t),
        lambda o, t: torch.tensor(1.0),
        lambda o, t: torch.tensor(float(cross_entropy(o.detach(), t))),
    ],
    ids=["detached", "constant", "number"],
)
def test_a_loss_that_depends_on_no_parameter(loss: Any) -> None:
    notes = fails(ValueError, "`loss` must depend on a parameter that trains", mlp(), DATA, loss)
    assert "in first step 1 of 6" in notes


def test_a_loss_that_depends_on_no_parameter_of_the_optimizer() -> None:
    model = mlp()
    unused = nn.Parameter(torch.ones(3))
    model.register_parameter("unused", unused)
    optimizer = torch.optim.SGD([unused], 0.1)
    message = "`loss` must depend on a parameter that the optimizer trains, but none got a gradient"
    notes = fails(ValueError, message, model, DATA, cross_entropy, optimizer)
    assert "in first step 1 of 6" in notes


def test_an_optimizer_that_fails_says_where() -> None:
    class Failing(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise RuntimeError("no luck")

    notes = fails(RuntimeError, "no luck", mlp(), DATA, cross_entropy, lambda p: Failing(p, 0.1))
    assert "`optimizer.step()`, for a batch of (40, 1, 8, 8) float32, (40,) int64" in notes
    assert "in first step 1 of 6" in notes


def test_a_backward_pass_that_fails_says_where() -> None:
    model = mlp()
    model.head.register_full_backward_hook(  # type: ignore[union-attr]
        lambda *_: (_ for _ in ()).throw(RuntimeError("no way back"))
    )
    notes = fails(RuntimeError, "no way back", model, DATA)
    assert "the backward pass, for a batch of (40, 1, 8, 8) float32" in notes


@pytest.mark.parametrize("batch", ["text", 3, []])
def test_batches_that_say_nothing(batch: Any) -> None:
    fails(TypeError, "Batch 0 of `inputs` must hold a tensor|A batch must be", mlp(), [batch] * 9)


def test_several_labels_of_the_wrong_type() -> None:
    data = [(x, nn.functional.one_hot(y, 10)) for x, y in DATA]
    loss = binary_cross_entropy_with_logits
    notes = fails(RuntimeError, "Float|dtype|type", mlp(), data, loss)
    assert "(40, 10) int64" in notes
