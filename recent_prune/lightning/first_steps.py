"""A trainer's own first steps: its ``training_step``, optimizer, schedule and precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.overrides import TorchFunctionMode

from recent_prune.lightning.batches import TrainingBatches, without_workers
from recent_prune.probe import ProbeResult, Training
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.probe.first_steps.objective import Answer
from recent_prune.probe.first_steps.optimizers import MOST_SCHEDULED, reached
from recent_prune.probe.first_steps.training import STEPS, Loss
from recent_prune.probe.probing import ready

LOSSES = (
    F.cross_entropy,
    F.nll_loss,
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
)
"""Of which, when ``training_step`` calls them, predictions and targets are known."""


DEFAULTS: dict[str, Any] = {
    "estimator": "ridge",
    "layers": None,
    "reconstruct": None,
    "rtol": 0.005,
    "seed": 0,
}
"""Of a probe."""


def made_or_why_not(
    trainer: Trainer, module: LightningModule, batches: TrainingBatches | Inputs, steps: int | None
) -> ProbeResult | str | Exception:
    """The result of a probe with first steps, or why there is none, or what they raised."""
    unseen = why_not(trainer, module)
    if unseen is not None:
        return unseen
    try:
        with trained_as_by(trainer, module, steps) as training:
            whole = without_workers(batches)
            return ready(module, whole, training=training, **DEFAULTS)()
    except Exception as error:
        return error


def why_not(trainer: Trainer, module: LightningModule) -> str | None:
    """Why the first steps cannot be made as the trainer makes them, or None."""
    if not module.automatic_optimization:
        return "the module optimizes by hand (automatic_optimization=False)"
    if len(trainer.optimizers) != 1:
        return f"it has {len(trainer.optimizers)} optimizers"
    known = {id(p) for p in module.parameters()}
    groups = trainer.optimizers[0].param_groups
    if not any(id(p) in known for group in groups for p in group["params"]):
        return "`configure_optimizers` gives no optimizer over its parameters"
    if is_param_in_hook_signature(module.training_step, "dataloader_iter", explicit=True):
        return "its `training_step` takes `dataloader_iter`"
    strategy = trainer.strategy
    plain = isinstance(strategy, (SingleDeviceStrategy, DDPStrategy))
    if not plain or strategy.handles_gradient_accumulation:
        return f"its parameters are under {type(strategy).__name__}"
    return None


@contextmanager
def trained_as_by(
    trainer: Trainer, module: LightningModule, steps: int | None = None, *, watched: bool = True
) -> Iterator[Training]:
    """How the trainer trains the module.

    Args:
        trainer: At the start of its training.
        module: Its module, bare.
        steps: Updates; no more than the trainer makes. Default: as of :class:`Training`.
        watched: Whether the loss function is looked for, which needs values to compare.
    """
    (optimizer,) = trainer.optimizers
    value, kind = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
    by_norm = kind != "value" and not is_overridden("configure_gradient_clipping", module)
    budget = _budget(trainer)
    scheduler, rate = _schedule(trainer, budget)
    loss = _Seen()
    training = Training(
        loss,
        optimizer,
        steps=min(steps or STEPS, budget or math.inf),  # type: ignore[arg-type]
        budget=budget,
        scheduler=scheduler,
        learning_rate=rate,
        clip_norm=(value or None) if by_norm else None,
        accumulate=trainer.accumulate_grad_batches,
        scaler=getattr(trainer.precision_plugin, "scaler", None),
        call=partial(_answer, trainer, loss, watched),
    )
    if by_norm:
        yield training
        return

    def clip(*_: Any) -> None:
        module.configure_gradient_clipping(
            optimizer, gradient_clip_val=value, gradient_clip_algorithm=kind
        )

    hook = optimizer.register_step_pre_hook(clip)
    try:
        yield training
    finally:
        hook.remove()


def _budget(trainer: Trainer) -> int | None:
    """Updates of the whole training; None for one without an end, or of unknown length."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if 0 < steps < math.inf else None


def _schedule(trainer: Trainer, budget: int | None) -> tuple[LRScheduler | None, float | None]:
    """A schedule that is stepped with the optimizer, or the largest rate of those that are not.

    Of several the one that reaches the largest rate counts.
    """
    # Of others, such as timm's, the optimizer knows the rate that they are built around.
    configs = [c for c in trainer.lr_scheduler_configs if isinstance(c.scheduler, LRScheduler)]
    if len(configs) == 1 and (configs[0].interval, configs[0].frequency) == ("step", 1):
        return configs[0].scheduler, None
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
    most = 0.0
    for config in configs:
        times = (epochs if config.interval == "epoch" else budget) or MOST_SCHEDULED
        rates = reached(config.scheduler, min(times // config.frequency, MOST_SCHEDULED))
        most = max(most, *rates)
    return None, most if most > 0 else None


def _answer(trainer: Trainer, known: _Seen, watched: bool, module: nn.Module, batch: Any) -> Answer:
    """What ``training_step`` says of a batch, in the trainer's precision."""
    assert isinstance(module, LightningModule)
    indexed = is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2)
    seeing = known.watching() if watched and not _is_compiled(module) else nullcontext()
    with trainer.precision_plugin.train_step_context(), seeing:
        found = module.training_step(batch, 0) if indexed else module.training_step(batch)
    loss = found.get("loss") if isinstance(found, Mapping) else found
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        skipped = ", which skips the step" if found is None else ""
        raise ValueError(
            "`training_step` must return a loss, as a scalar tensor or under 'loss', but returned "
            f"{_kind(found)}{skipped}."
        )
    return Answer(loss.reshape(()), *known.pair(loss))


class _Seen(TorchFunctionMode):
    """Watches for the loss function whose value ``training_step`` returns.

    Called, it is that function: so the best constant prediction becomes known.
    """

    def __init__(self) -> None:
        super().__init__()
        self._function: Loss | None = None
        self._calls: list[tuple[Loss, Tensor, Any, Tensor]] = []

    def __call__(self, output: Any, target: Any) -> Tensor:
        if self._function is None:
            raise ValueError("The loss function is not known.")
        return self._function(output, target)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._calls.clear()
        with self:
            yield

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        value = func(*args, **named)
        if func in LOSSES and isinstance(value, Tensor) and value.numel() == 1:
            pair = [*args[:2], *(named.pop(k) for k in ("input", "target") if k in named)]
            if len(pair) == 2 and isinstance(pair[0], Tensor):
                function = partial(_on_pair, func, args[2:], named)
                self._calls.append((function, pair[0].detach(), pair[1], value.detach()))
        return value

    def pair(self, loss: Tensor) -> tuple[Tensor | None, Any]:
        """Predictions and targets of the loss, or two None."""
        calls, self._calls = self._calls, []
        for function, output, target, value in reversed(calls):
            if torch.isclose(value.float().reshape(()), loss.detach().float().reshape(()), 1e-2):
                self._function = function
                return output.float(), target
        return None, None


def _on_pair(
    function: Loss, more: tuple[Any, ...], named: Mapping[str, Any], output: Any, target: Any
) -> Tensor:
    return function(output, target, *more, **named)


def _is_compiled(module: nn.Module) -> bool:
    """Whether a part is compiled, and would be once more for whoever watches."""
    return getattr(module, "_compiler_ctx", None) is not None or any(
        hasattr(part, "_orig_mod") for part in module.modules()
    )


def _kind(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    if isinstance(found, Mapping):
        return f"a mapping of {sorted(map(str, found))}"
    return "None" if found is None else f"a {type(found).__name__}"
