from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import optuna
import pytest
import torch
import torchmetrics
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.probe import FirstSteps, ProbeResult, Training, probe
from recent_prune.rules import Verdict
from tests.lightning.modules import QUIET, Classifier, judge, loader, new_trainer
from tests.networks import Noisy, mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


def probed(module: pl.LightningModule, data: Any = None, **arguments: Any) -> ProbeResult:
    """What the callback finds."""
    own = {k: arguments.pop(k) for k in ("inputs", "steps", "training") if k in arguments}
    callback = ReconstructionEntropyCallback(rule=judge, **own)
    new_trainer(callback, **arguments).fit(module, loader() if data is None else data, loader())
    assert callback.result is not None
    return callback.result


def made(module: pl.LightningModule, data: Any = None, **arguments: Any) -> FirstSteps:
    steps = probed(module, data, **arguments).steps
    assert steps is not None
    return steps


def expected(network: nn.Module, **arguments: Any) -> FirstSteps:
    """The same, by a `Training` that is written down."""
    settings = {"steps": 4, "budget": 4, **arguments}
    training = Training(cross_entropy, lambda p: torch.optim.Adam(p, 1e-2), **settings)
    steps = probe(network, loader(), training=training).steps
    assert steps is not None
    return steps


def same(a: FirstSteps, b: FirstSteps) -> None:
    """All numbers, NaN included."""
    assert repr(a).rpartition(", seconds=")[0] == repr(b).rpartition(", seconds=")[0]


class Thorough(Classifier):
    """Does in its training step all that leaves a trace, and has a schedule with warm-up."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.right = torchmetrics.Accuracy("multiclass", num_classes=10)
        self.outputs: list[Tensor] = []
        self.seen = {"batches": 0}
        self.count = 0

    def training_step(self, batch: Any, index: int) -> Any:
        logits = self(batch[0])
        loss = cross_entropy(logits, batch[1])
        self.steps.append(batch[1])
        self.outputs.append(loss.detach())
        self.seen["batches"] += 1
        self.count += 1
        self.right(logits, batch[1])
        self.log("right", self.right, on_step=True, on_epoch=True)
        self.log_dict({"loss": loss, "twice": 2 * loss}, on_step=True, prog_bar=True)
        if self.logger is not None:
            self.logger.log_metrics({"by hand": float(loss.detach())}, step=self.global_step)
        return {"loss": loss, "logits": logits.detach()}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 1e-2, weight_decay=1e-4)
        warm_up = LambdaLR(optimizer, lambda step: min((step + 1) / 3, 1.0))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": warm_up, "interval": "step"},
        }


def test_a_kept_module_trains_bit_for_bit_as_without(tmp_path: Path) -> None:
    """Adam, dropout, batch statistics, warm-up, clipping, metrics and logs."""
    trained, told = [], []
    for callback in (None, ReconstructionEntropyCallback(rule=judge)):
        pl.seed_everything(0, verbose=False)
        module = Thorough(Noisy())
        logger = CSVLogger(tmp_path, version=str(callback is None))
        trainer = new_trainer(
            callback, max_epochs=2, logger=logger, log_every_n_steps=1, gradient_clip_val=0.5
        )
        trainer.fit(module, loader(shuffle=True), loader())
        assert len(module.steps) == len(module.outputs) == module.count == 8
        assert module.seen == {"batches": 8}
        assert "log" not in vars(module)
        trained.append((module, trainer))
        lines = [
            {k: v for k, v in row.items() if "/" not in k} for row in logger.experiment.metrics
        ]
        told.append([line for line in lines if set(line) != {"step"}])
    (plain, before), (judged, after) = trained
    assert callback is not None
    assert callback.result is not None
    assert callback.result.steps is not None
    for name, value in plain.state_dict().items():
        assert torch.equal(value, judged.state_dict()[name]), name
    assert torch.equal(torch.stack(plain.outputs), torch.stack(judged.outputs))
    assert before.callback_metrics == after.callback_metrics
    assert told[0] == told[1]


def test_nothing_stays_after_an_error() -> None:
    class Failing(Thorough):
        def training_step(self, batch: Any, index: int) -> Any:
            if self.count == 9:  # in the second update
                raise RuntimeError("in the ninth batch")
            return super().training_step(batch, index)

    module = Failing(mlp())
    before = {name: value.clone() for name, value in module.state_dict().items()}

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, Failing)
            assert (pl_module.count, pl_module.seen, pl_module.steps) == (0, {"batches": 0}, [])
            assert "log" not in vars(pl_module)
            assert not trainer.optimizers[0].state
            assert trainer.callback_metrics == {}
            for name, value in pl_module.state_dict().items():
                assert torch.equal(value, before[name])
            trainer.should_stop = True

    callback = ReconstructionEntropyCallback(rule=judge)
    trainer = new_trainer(
        None, callbacks=[callback, Look()], min_epochs=0, enable_progress_bar=False
    )
    with pytest.warns(UserWarning, match="not judged, but its initialization alone: RuntimeError"):
        trainer.fit(module, loader())
    assert callback.result is not None
    assert callback.result.steps is None


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


class InTrainingOnly(Classifier):
    """It cannot be evaluated."""

    def forward(self, batch: Any) -> Tensor:
        assert self.training, "not in evaluation mode"
        return self.network(batch["digits"])  # type: ignore[no-any-return]

    def training_step(self, batch: Any, index: int) -> Tensor:
        return cross_entropy(self(batch), batch["what"])

    def validation_step(self, batch: Any, index: int) -> None:
        pass


def named_loader() -> Any:
    pairs = zip(DIGITS.train, DIGITS.train_labels, strict=True)
    rows = [{"digits": x, "what": y} for x, y in pairs]
    return DataLoader(rows, batch_size=64)  # type: ignore[arg-type]


class ByHand(Classifier):
    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.automatic_optimization = False


class Several(ByHand):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]

    def on_train_start(self) -> None:
        assert len(self.trainer.optimizers) == 2


class WithoutOptimizer(Classifier):
    def configure_optimizers(self) -> Any:
        return None


class FromAnIterator(Classifier):
    def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]
        raise AssertionError


class Skips(Classifier):
    def training_step(self, batch: Any, index: int) -> Any:
        return None


class Misspelt(Classifier):
    def training_step(self, batch: Any, index: int) -> Any:
        return {"los": 1}


class Missing(Classifier):
    def training_step(self, batch: Any, index: int) -> Any:
        return batch.nowhere


class TestWhatCannotBeJudged:
    @pytest.mark.parametrize("tried", [True, False])
    def test_a_probe_that_fails_keeps_its_network(self, tried: bool) -> None:
        trial = optuna.create_study(pruner=ReconstructionEntropyPruner()).ask() if tried else None
        callback = ReconstructionEntropyCallback(trial, rule=judge)
        trainer = new_trainer(callback)
        with pytest.warns(
            UserWarning, match="The probe failed, so .*AssertionError: not in eval"
        ) as told:
            trainer.fit(InTrainingOnly(mlp()), named_loader())
        assert len([w for w in told if "probe" in str(w.message)]) == 1
        assert trainer.global_step == 4
        assert callback.verdict is not None
        assert callback.verdict.trainable
        assert "It could not be judged: " in callback.verdict.reason
        if trial is not None:
            assert "AssertionError: " in trial.user_attrs[attributes.FAULT]

    def test_batches_come_as_they_are(self) -> None:
        """What `training_step` gets is not taken apart, nor moved by anybody else."""

        class Batch:
            def __init__(self, rows: Any) -> None:
                self.x, self.y = (
                    torch.stack([r[0] for r in rows]),
                    torch.stack([r[1] for r in rows]),
                )

        class Own(Classifier):
            def training_step(self, batch: Any, index: int) -> Tensor:
                assert isinstance(batch[1], Batch)
                assert isinstance(batch[2], deque)
                return cross_entropy(self(batch[0]), batch[1].y)

        data: Any = DataLoader(
            TensorDataset(DIGITS.train, DIGITS.train_labels),
            batch_size=64,
            collate_fn=lambda rows: (Batch(rows).x, Batch(rows), deque([1])),
        )
        same(made(Own(mlp()), data), expected(mlp()))

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (ByHand, r"optimizes by hand \(automatic_optimization=False\)"),
            (Several, r"optimizes by hand"),
            (WithoutOptimizer, "`configure_optimizers` gives no optimizer over its parameters"),
            (FromAnIterator, "its `training_step` takes `dataloader_iter`"),
            (Skips, "`training_step` must return a loss, .* but returned None, which skips the"),
            (Misspelt, "`training_step` must return a loss, .* returned a mapping of .'los'"),
            (Missing, "AttributeError: .*nowhere"),
        ],
    )
    @pytest.mark.filterwarnings(
        "ignore:.*configure_optimizers. returned `None`", "ignore:.*dataloader_iter.*experimental"
    )
    def test_the_initialization_alone_is_judged(self, kind: type[Classifier], message: str) -> None:
        # Nothing is trained: what cannot be judged cannot always be trained.
        callback = ReconstructionEntropyCallback(rule=lambda _: Verdict(False, 1.0, "stopped"))
        trainer, module = new_trainer(callback, num_sanity_val_steps=0), kind(mlp())
        with pytest.warns(UserWarning, match=f"but its initialization alone: .*{message}") as w:
            trainer.fit(module, loader())
        assert trainer.global_step == 0
        assert len([one for one in w if "first steps" in str(one.message)]) == 1
        assert callback.result is not None
        assert callback.result.steps is None

    def test_pruned_by_the_module_itself(self) -> None:
        class Prunes(Classifier):
            def training_step(self, batch: Any, index: int) -> Tensor:
                raise optuna.TrialPruned("by itself")

        with pytest.raises(optuna.TrialPruned, match="by itself"):
            probed(Prunes(mlp()))
