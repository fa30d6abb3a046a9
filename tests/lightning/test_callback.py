from __future__ import annotations

import csv
import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import optuna
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import cross_entropy

from recent_prune.lightning import OnCondemned, ReconstructionEntropyCallback
from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.probe import Training, probe
from recent_prune.rules import SaturationRule, TrainabilityRule
from recent_prune.rules.certified import CertifiedRule
from tests.lightning.modules import BAD, QUIET, Classifier, fit, judge, loader, new_trainer
from tests.networks import Noisy, mlp
from tests.optuna.studies import DIGITS

pytestmark = pytest.mark.filterwarnings(*QUIET)


class TestStop:
    @pytest.mark.parametrize("minimum", [{}, {"min_epochs": 1}, {"min_steps": 3}])
    def test_no_step_runs(self, minimum: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
        callback = ReconstructionEntropyCallback(rule=judge)
        trainer = new_trainer(callback, max_epochs=2, **minimum)
        module = Classifier(mlp(**BAD))
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with caplog.at_level(logging.INFO, "lightning.pytorch"):
            trainer.fit(module, loader(), loader())
        assert module.sane == 2
        assert module.steps == []
        assert trainer.global_step == 0
        assert trainer.current_epoch == 0
        assert trainer.state.finished
        assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
        assert callback.verdict is not None
        assert not callback.verdict.trainable
        assert f"stopped before its first step: {callback.verdict.reason}" in caplog.text

        trainer.fit(healthy := Classifier(mlp()), loader(), loader())  # the same trainer, as it was
        assert trainer.min_steps == minimum.get("min_steps")
        assert len(healthy.steps) == 8
        assert callback.verdict.trainable

    def test_leaves_no_checkpoint_and_a_trainer_that_works(self, tmp_path: Path) -> None:
        trainer = new_trainer(
            ReconstructionEntropyCallback(rule=judge),
            enable_checkpointing=True,
            default_root_dir=tmp_path,
        )
        module = Classifier(mlp(**BAD))
        trainer.fit(module, loader(), loader())
        assert not list(tmp_path.rglob("*.ckpt"))
        (metrics,) = trainer.validate(module, loader(), verbose=False)
        assert metrics["accuracy"] < 0.5


class TestKept:
    @pytest.mark.parametrize(
        "workers", [{}, {"num_workers": 1, "persistent_workers": True}], ids=["none", "persistent"]
    )
    @pytest.mark.parametrize("seeded", [True, False])
    def test_trains_as_it_would_have(self, workers: dict[str, Any], seeded: bool) -> None:
        """Bit for bit, with dropout, batch statistics and a shuffled loader."""
        trained = []
        for callback in (None, ReconstructionEntropyCallback(rule=judge)):
            pl.seed_everything(0, verbose=False)
            module = Classifier(Noisy())
            generator = torch.Generator().manual_seed(1) if seeded else None
            data = loader(shuffle=True, generator=generator, **workers)
            new_trainer(callback, max_epochs=2).fit(module, data, loader())
            assert len(module.steps) == 8
            trained.append(module)
        assert torch.equal(torch.cat(trained[0].steps), torch.cat(trained[1].steps))
        for a, b in zip(*(m.state_dict().values() for m in trained), strict=True):
            assert torch.equal(a, b)
        assert callback is not None
        assert callback.verdict is not None

    def test_result_and_verdict_are_those_of_a_probe(self) -> None:
        callback = ReconstructionEntropyCallback(rule=SaturationRule(), first_steps=False)
        fit(callback, mlp())
        expected = probe(mlp(), loader())
        assert callback.result is not None
        assert callback.result.retained == expected.retained
        assert callback.verdict == SaturationRule()(expected)

    def test_only_initializations_are_probed(self, tmp_path: Path) -> None:
        callback = ReconstructionEntropyCallback(rule=judge)
        trainer = new_trainer(callback)
        module = Classifier(mlp())
        trainer.fit(module, loader(), loader())
        trainer.save_checkpoint(tmp_path / "one.ckpt")
        callback.verdict = None
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module, loader(), loader())
        assert len(module.steps) == 8
        again = new_trainer(callback, max_epochs=2)
        resumed = Classifier(mlp())
        again.fit(resumed, loader(), loader(), ckpt_path=str(tmp_path / "one.ckpt"))
        assert len(resumed.steps) == 4
        assert callback.verdict is None


class TestInputs:
    def test_may_be_given(self) -> None:
        callback = ReconstructionEntropyCallback(inputs=DIGITS.test, first_steps=False)
        fit(callback, mlp())
        assert callback.result is not None
        assert callback.result.retained == probe(mlp(), DIGITS.test).retained

    @pytest.mark.parametrize("tensors", [True, False])
    def test_may_be_given_for_first_steps(self, tensors: bool) -> None:
        pair = (DIGITS.test, DIGITS.test_labels)
        batches = list(zip(*(tensor.split(20) for tensor in pair), strict=True))
        callback = ReconstructionEntropyCallback(inputs=pair if tensors else batches, rule=judge)
        fit(callback, mlp())
        assert callback.result is not None
        assert callback.result.steps is not None
        assert 1.5 < callback.result.steps.constant_loss < 2.31
        assert callback.result.samples == 100

    def test_are_what_a_training_step_sees(self) -> None:
        """In the trainer's precision, after the transfer hooks."""

        class Scaling(Classifier):
            def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
                return batch[0] * 2, batch[1]

            def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
                assert batch[0].dtype == torch.float64
                return batch[0] - 1, batch[1]

        callback = ReconstructionEntropyCallback(rule=judge, first_steps=False)
        new_trainer(callback, precision="64-true").fit(Scaling(mlp()), loader(), loader())
        expected = probe(mlp().double(), DIGITS.train.double() * 2 - 1)
        assert callback.result is not None
        assert callback.result.retained == pytest.approx(expected.retained, rel=0.1)

    def test_that_are_noise_are_told_of(self) -> None:
        noise = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with pytest.warns(UserWarning, match="of `inputs` can be reconstructed from the inputs"):
            fit(ReconstructionEntropyCallback(inputs=noise, first_steps=False, rule=judge), mlp())

    def test_must_be_given_for_several_loaders(self) -> None:
        with pytest.raises(TypeError, match=r"several train dataloaders, but got None with a dict"):
            new_trainer(ReconstructionEntropyCallback()).fit(
                Classifier(mlp()), {"a": loader(), "b": loader()}, loader()
            )

    def test_errors_of_the_probe_reach_the_user(self) -> None:
        with pytest.raises(ValueError, match="at least 16 samples, but got 3"):
            fit(ReconstructionEntropyCallback(inputs=DIGITS.train[:3]), mlp())


class TestWithoutTrial:
    def test_warns(self) -> None:
        callback = ReconstructionEntropyCallback(on_condemned="warn", rule=judge)
        with pytest.warns(UserWarning, match="network will not train: retained 0.000"):
            module = fit(callback, mlp(**BAD))
        assert len(module.steps) == 4

    def test_raises(self) -> None:
        with pytest.raises(RuntimeError, match=r"^retained 0\.000$"):
            fit(ReconstructionEntropyCallback(on_condemned="raise", rule=judge), mlp(**BAD))

    @pytest.mark.parametrize("network", [{}, BAD], ids=["kept", "stopped"])
    def test_logs_numbers(self, network: dict[str, Any], tmp_path: Path) -> None:
        callback = ReconstructionEntropyCallback(rule=judge)
        logger = CSVLogger(tmp_path)
        fit(callback, mlp(**network), logger=logger, log_every_n_steps=1)
        with (Path(logger.log_dir) / "metrics.csv").open() as file:
            row = next(csv.DictReader(file))
        assert callback.result is not None
        assert float(row["recent_prune/retained"]) == callback.result.retained[-1]
        assert callback.result.steps is not None
        after = callback.result.steps.loss_after
        assert float(row["recent_prune/loss_after"]) == pytest.approx(after, rel=1e-3)
        assert float(row["recent_prune/trainable"]) == (network != BAD)
        assert row["step"] == "0"


class Shared(optuna.trial.FixedTrial):
    """As ``TorchDistributedTrial``: what is told to it is a message to all ranks."""

    def __init__(self, delegate: optuna.Trial | None) -> None:
        super().__init__({})
        self._delegate = delegate
        self.told: list[str] = []

    def _broadcast(self, value: Any) -> Any:
        raise AssertionError("nobody else asks now")

    def set_user_attr(self, key: str, value: Any) -> None:
        self.told.append(key)


class TestTrial:
    def test_prunes_and_keeps(self, tmp_path: Path) -> None:
        study = optuna.create_study(pruner=ReconstructionEntropyPruner(rule=judge))
        logger = CSVLogger(tmp_path)
        modules = []

        def objective(trial: optuna.Trial) -> float:
            depth = trial.suggest_categorical("depth", [3, 50])
            module = Classifier(mlp(**({} if depth == 3 else BAD)))
            modules.append(module)
            callback = ReconstructionEntropyCallback(trial)
            trainer = new_trainer(callback, logger=logger, log_every_n_steps=1)
            trainer.fit(module, loader(), loader())
            assert callback.verdict is not None
            assert callback.verdict.trainable
            assert callback.result is None
            return trainer.callback_metrics["accuracy"].item()

        study.enqueue_trial({"depth": 3})
        study.enqueue_trial({"depth": 50})
        study.optimize(objective, n_trials=2)
        kept, pruned = study.trials
        assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED"]
        assert [len(m.steps) for m in modules] == [4, 0]
        assert pruned.user_attrs[attributes.REASON] == "retained 0.000"
        assert kept.user_attrs[attributes.STEPS]["made"] == 4
        assert pruned.constraints["recent_prune"] > 0
        with (Path(logger.log_dir) / "metrics.csv").open() as file:
            row = next(csv.DictReader(file))
        assert float(row["recent_prune/retained"]) == kept.user_attrs[attributes.RETAINED]

    def test_a_pruner_that_does_not_ask_is_told_of_once(self) -> None:
        trial = optuna.create_study().ask()
        with pytest.warns(UserWarning, match="the study's pruner is MedianPruner") as told:
            fit(ReconstructionEntropyCallback(trial, rule=judge), mlp(**BAD))
        assert len([w for w in told if "MedianPruner" in str(w.message)]) == 1

    def test_multi_objective_trials_are_pruned_by_the_verdict(self) -> None:
        trial = optuna.create_study(directions=["minimize", "maximize"]).ask()
        with pytest.raises(optuna.TrialPruned, match=r"^retained 0\.000$"):
            fit(ReconstructionEntropyCallback(trial, rule=judge), mlp(**BAD))

    def test_fixed_trials_are_never_pruned(self) -> None:
        trial = optuna.trial.FixedTrial({})
        callback = ReconstructionEntropyCallback(trial, rule=judge)
        assert len(fit(callback, mlp(**BAD)).steps) == 4
        assert trial.user_attrs[attributes.TRAINABLE] is False

    @pytest.mark.parametrize("first", [True, False])
    def test_may_be_shared_by_several_ranks(self, first: bool) -> None:
        trial = optuna.create_study(pruner=ReconstructionEntropyPruner(judge)).ask()
        shared = Shared(trial if first else None)
        callback = ReconstructionEntropyCallback(shared, rule=judge)
        fit(callback, mlp())
        assert callback.verdict is not None
        # The first rank's rule counts, and its trial holds the result.
        assert callback.verdict.reason.startswith("retained") is first
        assert (callback.result is None) is first
        assert trial.user_attrs.get(attributes.TRAINABLE) is (True if first else None)
        assert shared.told == [attributes.TRAINABLE]

    def test_gradients_are_stored(self) -> None:
        trial = optuna.create_study(pruner=ReconstructionEntropyPruner()).ask()
        fit(ReconstructionEntropyCallback(trial, rule=judge), mlp())
        assert trial.user_attrs[attributes.GRADIENTS]["layer"] == [1, 2, 3, 4]

    def test_the_rule_may_be_given(self) -> None:
        strict = TrainabilityRule(min_reach=0.999)
        trial = optuna.create_study(pruner=ReconstructionEntropyPruner()).ask()
        with pytest.raises(optuna.TrialPruned, match="at least 100% needed"):
            fit(ReconstructionEntropyCallback(trial, rule=strict), mlp())


class TestArguments:
    def test_are_checked(self) -> None:
        with pytest.raises(TypeError, match=r"`trial` must be an Optuna trial or None, but got 3"):
            ReconstructionEntropyCallback(3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"`rule` must be a rule .*, but got <class .*Saturat"):
            ReconstructionEntropyCallback(rule=SaturationRule)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"`rule` must be a rule .*, but got 0.5"):
            ReconstructionEntropyCallback(rule=0.5)  # type: ignore[arg-type]
        with pytest.raises(
            TypeError, match=r"`rule` must come with a `trial` .* got CertifiedRule"
        ):
            ReconstructionEntropyCallback(rule=CertifiedRule(better_than=0.9))
        unknown: OnCondemned = "prune"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="'stop', 'warn' or 'raise', but got 'prune'"):
            ReconstructionEntropyCallback(on_condemned=unknown)

    def test_of_first_steps_are_checked(self) -> None:
        training = Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1))
        with pytest.raises(TypeError, match="`training` must be a Training or None, but got 3"):
            ReconstructionEntropyCallback(training=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="`steps` must be an integer ≥ 1 or None, but got 0"):
            ReconstructionEntropyCallback(steps=0)
        with pytest.raises(ValueError, match=r"`first_steps` must be True .* got True and 3"):
            ReconstructionEntropyCallback(training=training, steps=3)
        with pytest.raises(ValueError, match=r"`first_steps` must be True .* got False and None"):
            ReconstructionEntropyCallback(training=training, first_steps=False)
        with pytest.raises(ValueError, match="must be None where `first_steps` is False, but got"):
            ReconstructionEntropyCallback(first_steps=False, steps=3)


def test_without_lightning_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    for name in [name for name in sys.modules if name.startswith("recent_prune.lightning")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'recent-prune\[lightning\]'"):
        importlib.import_module("recent_prune.lightning")
