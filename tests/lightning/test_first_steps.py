from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import (
    ConstantLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.probe import Training
from tests.lightning.first_steps import expected, made, same
from tests.lightning.modules import QUIET, Classifier
from tests.networks import mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


class TestAsTheTrainerTrains:
    def test_optimizer_loss_and_budget(self) -> None:
        steps = made(Classifier(mlp()))
        same(steps, expected(mlp()))
        assert 2.1 < steps.constant_loss < 2.31
        assert steps.accuracy_after > steps.chance
        assert steps.budget == 4

    def test_no_more_steps_than_asked_for_or_made(self) -> None:
        assert made(Classifier(mlp()), steps=2).made == 2
        assert made(Classifier(mlp()), max_epochs=5).made == 6
        assert made(Classifier(mlp()), max_epochs=5).budget == 20
        assert made(Classifier(mlp()), steps=20).made == 4

    @pytest.mark.parametrize("ends", [True, False])
    def test_a_budget_that_is_not_known(self, ends: bool) -> None:
        """An iterable data set has no length."""

        class Stream(torch.utils.data.IterableDataset[Any]):
            def __iter__(self) -> Any:
                return iter(zip(DIGITS.train, DIGITS.train_labels, strict=True))

        limit: dict[str, Any] = {"max_steps": 7, "max_epochs": -1} if ends else {}
        data: Any = DataLoader(Stream(), batch_size=32)
        assert made(Classifier(mlp()), data, **limit).budget == (7 if ends else None)

    def test_accumulation_and_clipping(self) -> None:
        steps = made(Classifier(mlp()), accumulate_grad_batches=2, gradient_clip_val=0.1)
        same(steps, expected(mlp(), steps=2, budget=2, accumulate=2, clip_norm=0.1))

    @pytest.mark.parametrize("by_hook", [True, False])
    def test_clipping_of_other_kinds(self, by_hook: bool) -> None:
        class Clipped(Classifier):
            def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
                nn.utils.clip_grad_value_(self.parameters(), 1e-9)

        def rate(module: Classifier) -> None:
            module.configure_optimizers = lambda: torch.optim.SGD(  # type: ignore[method-assign]
                module.parameters(), 1.0
            )

        module = Clipped(mlp()) if by_hook else Classifier(mlp())
        rate(module)
        clip: dict[str, Any] = {"gradient_clip_val": 1e-9, "gradient_clip_algorithm": "value"}
        steps = made(module, **({} if by_hook else clip))
        most = 1e-9 * sum(p.numel() for p in module.parameters()) ** 0.5
        assert 0 < steps.first_update <= most * 1.01

    @pytest.mark.parametrize(
        ("schedule", "rate"),
        [
            ((lambda o: LambdaLR(o, lambda step: min(step / 3, 1)), "step", 1), 1e-2),
            ((lambda o: LinearLR(o, 0.1, 1.0, 9), "epoch", 1), 4e-3),
            ((lambda o: LambdaLR(o, lambda step: min(step / 20, 1)), "step", 2), 1e-2 * 8 / 20),
        ],
        ids=["of steps", "of epochs", "of every second step"],
    )
    def test_at_the_largest_rate_of_its_schedule(self, schedule: Any, rate: float) -> None:
        make, interval, frequency = (
            schedule if isinstance(schedule, tuple) else (schedule, "step", 1)
        )

        class Scheduled(Classifier):
            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.Adam(self.parameters(), 1e-2)
                chosen: LRScheduler = make(optimizer)
                known = {"scheduler": chosen, "interval": interval, "frequency": frequency}
                return {"optimizer": optimizer, "lr_scheduler": known}

        epochs = 3 if interval == "epoch" else 4
        steps = made(Scheduled(mlp()), max_epochs=epochs)
        assert steps.learning_rate == pytest.approx(rate)

    @pytest.mark.parametrize("interval", ["step", "epoch"])
    @pytest.mark.parametrize("in_sequence", [False, True])
    def test_at_a_rate_that_a_method_says(self, interval: str, in_sequence: bool) -> None:
        class Asking(Classifier):
            def rate_after(self, most: float, step: int) -> float:
                return min((step + 1) / int(self.trainer.estimated_stepping_batches) * 4, most)

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.Adam(self.parameters(), 1e-2)
                chosen: LRScheduler = LambdaLR(optimizer, partial(self.rate_after, 0.5))
                if in_sequence:
                    chosen = SequentialLR(optimizer, [chosen, ConstantLR(optimizer, 0.1)], [9])
                known = {"scheduler": chosen, "interval": interval}
                return {"optimizer": optimizer, "lr_scheduler": known}

        assert made(Asking(mlp()), max_epochs=3).learning_rate == pytest.approx(5e-3)

    def test_at_the_largest_rate_of_several_schedules(self) -> None:
        class Several(Classifier):
            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.Adam(self.parameters(), 1e-2)
                rising = LambdaLR(optimizer, lambda step: min((step + 1) / 4, 1))
                plateau = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "accuracy"}
                return [optimizer], [{"scheduler": rising, "interval": "step"}, plateau]

        assert made(Several(mlp()), max_epochs=2).learning_rate == pytest.approx(1e-2)

    def test_in_its_precision(self) -> None:
        types = []

        class Mixed(Classifier):
            def training_step(self, batch: Any, index: int) -> Tensor:
                types.append(self(batch[0]).dtype)
                return super().training_step(batch, index)

        mixed = made(Mixed(mlp()), precision="bf16-mixed")
        assert set(types) == {torch.bfloat16}
        assert mixed.constant_loss == pytest.approx(expected(mlp()).constant_loss)
        assert mixed.loss_after == pytest.approx(expected(mlp()).loss_after, rel=0.05)
        double = made(Classifier(mlp()), precision="64-true")
        assert double.loss_after == pytest.approx(expected(mlp()).loss_after, rel=1e-4)

    def test_what_training_step_may_look_like(self) -> None:
        class Short(Classifier):
            def training_step(self, batch: Any) -> Any:  # type: ignore[override]
                return {"loss": super().training_step(batch, 0)}

        same(made(Short(mlp())), expected(mlp()))

    def test_a_training_of_ones_own(self) -> None:
        own = Training(cross_entropy, lambda p: torch.optim.Adam(p, 1e-2), steps=4, budget=4)
        same(made(Classifier(mlp()), training=own), expected(mlp()))


class TestLosses:
    """The best constant prediction is known of what `training_step` computes."""

    def test_of_numbers(self) -> None:
        class Regression(Classifier):
            def training_step(self, batch: Any, index: int) -> Any:
                return mse_loss(self(batch[0])[:, 0], batch[1].float())

        steps = made(Regression(mlp()))
        assert 5 < steps.constant_loss < 12  # the variance of the digits
        assert steps.loss_before > steps.constant_loss

    def test_of_the_inputs(self) -> None:
        class Autoencoder(Classifier):
            def training_step(self, batch: Any, index: int) -> Any:
                return nn.MSELoss()(self(batch[0]), batch[0].flatten(1))

        steps = made(Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 64))))
        pixels = DIGITS.train[:256].flatten(1)
        assert steps.constant_loss == pytest.approx(float(pixels.var(0).mean()), rel=0.1)

    def test_with_settings(self) -> None:
        class Smooth(Classifier):
            def training_step(self, batch: Any, index: int) -> Any:
                return nn.CrossEntropyLoss(label_smoothing=0.1)(self(batch[0]), batch[1])

        steps = made(Smooth(mlp()))
        assert 2.1 < steps.constant_loss < 2.31
        assert 0 < steps.accuracy_after < 1

    def test_of_ones_own_are_not_known(self) -> None:
        class Own(Classifier):
            def training_step(self, batch: Any, index: int) -> Any:
                return 3 * super().training_step(batch, index) + self(batch[0]).square().mean()

        steps = made(Own(mlp()))
        assert steps.constant_loss != steps.constant_loss
        assert steps.loss_after < steps.loss_before


class Frozen(Classifier):
    """Keeps a part in evaluation mode, whose statistics it would lose otherwise."""

    def __init__(self) -> None:
        head = nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)
        super().__init__(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), *head))
        statistics = self.network[1]  # type: ignore[index]
        statistics.running_var.mul_(9)
        statistics.requires_grad_(False).eval()

    def training_step(self, batch: Any, index: int) -> Tensor:
        seen.append((self.network[1].training, self.training))  # type: ignore[index]
        return super().training_step(batch, index)


seen: list[tuple[bool, bool]] = []
"""By `Frozen`, whose own lists come back."""


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_in_evaluation_mode_stays_there(whole: bool) -> None:
    seen.clear()
    module = Frozen().eval() if whole else Frozen()
    # Of one sample batch statistics cannot be computed.
    steps = made(module, DataLoader(TensorDataset(DIGITS.train[:32], DIGITS.train_labels[:32]), 1))
    assert math.isfinite(steps.loss_after)
    assert not any(mode for mode, _ in seen)
    assert any(mode for _, mode in seen) is not whole
