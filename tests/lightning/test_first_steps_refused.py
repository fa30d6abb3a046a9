"""What cannot be judged by first steps is kept, or judged by its initialization alone."""

from __future__ import annotations

from collections import deque
from typing import Any

import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.rules import Verdict
from tests.lightning.first_steps import expected, made, probed, same
from tests.lightning.modules import QUIET, Classifier, judge, loader, new_trainer
from tests.networks import mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


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
