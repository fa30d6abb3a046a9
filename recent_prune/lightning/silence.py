"""Nothing of what first steps do is logged, or stays in module, trainer and data module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger, Logger

from recent_prune.probe.restoring.isolation import held_in_evaluation
from recent_prune.probe.restoring.objects import attributes_restored


@contextmanager
def without_trace(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Inside, nothing is logged; on leaving, modules, trainer and data module are as before.

    So are the states of metrics, the lists that a module collects its outputs in, a teacher that
    it hides in one, and objects of the user's own that any of them holds. What is in evaluation
    mode stays there, as it does in the trainer's steps.
    """
    loggers = trainer.loggers
    beside = [trainer.datamodule] if trainer.datamodule is not None else []  # type: ignore[attr-defined]
    known = (*module.modules(), trainer, *beside)
    with held_in_evaluation(module), attributes_restored(*known, model=module):
        for part in module.modules():
            if isinstance(part, LightningModule):
                # Where `log` would look for the hook that it is called from.
                vars(part).update(log=_nothing, log_dict=_nothing)
        trainer.loggers = [_Silent(logger) for logger in loggers]
        try:
            yield
        finally:
            trainer.loggers = loggers


class _Silent(DummyLogger):
    """Logs nothing; says of itself what another logger does, which it passes for."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The trainer's own directory depends on the kind of its first logger."""
        return type(self._logger)

    def __getattribute__(self, name: str) -> Any:
        if name in ("name", "version", "save_dir", "log_dir", "root_dir"):
            return getattr(self._logger, name)
        return super().__getattribute__(name)


def _nothing(*_: Any, **__: Any) -> None:
    pass
