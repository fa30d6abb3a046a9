"""The command `recent-prune probe`."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from recent_prune.cli.console import UNTRAINABLE, answer, console, errors_in_one_line
from recent_prune.cli.options import (
    ArgOption,
    BatchSizeOption,
    CallOption,
    DataOption,
    DeviceOption,
    FactoryArgument,
    JsonOption,
    LossOption,
    OptimizerArgOption,
    OptimizerOption,
    RootOption,
    RuleOption,
    SeedOption,
)

if TYPE_CHECKING:  # heavy, so only loaded where needed
    from torch import nn

    from recent_prune.probe import FirstSteps, ProbeResult, Training
    from recent_prune.probe.batches.calling import Calling
    from recent_prune.rules import Verdict

logger = logging.getLogger(__name__)

ROWS = 16
"""Layers shown at most."""
EPOCH = 60_000
"""Samples of the epoch that the cost is compared with."""
BATCH = 64
RTOL = 0.005
"""Of the cutoff, as of `recent_prune.probe`."""


def probe(
    context: typer.Context,
    factory: FactoryArgument,
    data: DataOption,
    arg: ArgOption = None,
    data_root: RootOption = None,
    optimizer: OptimizerOption = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The largest that the training reaches.")
    ] = None,
    optimizer_arg: OptimizerArgOption = None,
    loss: LossOption = None,
    batch_size: BatchSizeOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="First steps; 6 by default.")] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the full training; without it nothing is too slow."),
    ] = None,
    call: CallOption = None,
    rule: RuleOption = "trainability",
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Will this train? Judge one model by its first steps, or at its initialization.

    Exit status: 0 if it can train, 3 if it cannot, 1 after an error, 2 after a wrong option.

    For example:

        recent-prune probe my_model.py:build --data mnist --optimizer adam --learning-rate 1e-3

        recent-prune probe torchvision.models:resnet18 --data folder_of_images --arg num_classes=10
    """
    options = {
        "loss": loss,
        "learning_rate": learning_rate,
        "settings": optimizer_arg,
        "batch_size": batch_size,
        "steps": steps,
        "budget": budget,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if optimizer is None and given:
        name = "optimizer-arg" if "settings" in given else next(iter(given)).replace("_", "-")
        raise typer.BadParameter(f"--{name} needs --optimizer", param_hint=f"--{name}")
    with errors_in_one_line(context.obj):
        from recent_prune.cli.data import inputs
        from recent_prune.cli.factory import arguments, built, named
        from recent_prune.cli.rules import rule_named
        from recent_prune.cli.training import training
        from recent_prune.probe.probing import calling_of, gathered, probe_samples, warn_of_noise
        from recent_prune.probe.reconstructing.ridge import Ridge

        judge = rule_named(rule)
        trained, how = None, None
        if optimizer is not None:
            trained = training(optimizer, call=call, **given)  # type: ignore[arg-type]
        elif call is not None:
            how = named(call, "--call")
        model = built(named(factory, "FACTORY"), arguments(arg or []), seed).to(device)
        known = inputs(data, data_root, labels=trained is not None)
        met = gathered(known, Ridge().samples, trained, seed)
        epoch = _epoch_s(model, met.probed[0], trained, calling_of(trained, how))
        result = probe_samples(
            model, met, Ridge(), layers=None, training=trained, call=how, rtol=RTOL, seed=seed
        )
        logger.info("%d samples, %d layers: %.3g s", result.samples, result.depth, result.seconds)
        warn_of_noise(result.redundancy)
        verdict = judge(result)
        answer(
            lambda: {**asdict(verdict), "epoch_seconds": epoch, "result": result.to_dict()},
            lambda: _tell(result, verdict, optimizer, epoch),
            as_json,
        )
        if not verdict.trainable:
            raise typer.Exit(UNTRAINABLE)


def _tell(
    result: ProbeResult, verdict: Verdict, optimizer: str | None, epoch: float | None
) -> None:
    answer = "[bold]Can train.[/]" if verdict.trainable else "[bold]Will not train.[/]"
    lines = [f"{answer} {escape(verdict.reason)}"]
    if verdict.cause is not None:
        lines.append(f"[bold]Cause:[/] {verdict.cause}.")
    if verdict.advice is not None:
        lines.append(f"[bold]Advice:[/] {escape(verdict.advice)}")
    if result.steps is not None:
        lines.append(f"{result.steps.made} steps of {escape(str(optimizer))}{_steps(result.steps)}")
    else:
        lines.append("Not looked at: learning rate and optimizer (--optimizer, --learning-rate).")
    for line in lines:
        console.print(line, highlight=False)
    console.print(_profile(result))
    console.print(_cost(result, epoch), highlight=False)


def _steps(steps: FirstSteps) -> str:
    """What they showed, in a sentence without its beginning."""
    text = f" at learning rate {steps.learning_rate:.3g}: loss {steps.loss_before:.4g} → "
    text += f"{steps.loss_after:.4g}"
    if math.isfinite(steps.constant_loss):
        shares = [x / steps.constant_loss for x in (steps.loss_before, steps.loss_after)]
        text += f", {shares[0]:.3g} → {shares[1]:.3g} times that of the best constant prediction"
    if math.isfinite(steps.accuracy_before):
        after = f"{steps.accuracy_after:.1%}" if math.isfinite(steps.accuracy_after) else "–"
        text += f"; accuracy {steps.accuracy_before:.1%} → {after} (chance {steps.chance:.1%})"
    return f"{text}."


def _profile(result: ProbeResult) -> Table:
    """The layers, or a choice of them, first and last included."""
    table = Table(title=f"{result.depth} layers, {result.samples} samples", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("layer", overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column("retained", justify="right")
    table.add_column("of the input's variance", width=20)
    table.add_column("entropy (nats)", justify="right")
    for i in result.spread(ROWS):
        table.add_row(
            str(i + 1),
            escape(result.layers[i]),
            f"{result.retained[i]:.4f}",
            Bar(1, 0, result.retained[i], width=20),
            f"{result.relative_entropy[i]:.4g}",
        )
    return table


def _cost(result: ProbeResult, epoch: float | None) -> str:
    text = f"The probe took {result.seconds:.3g} s"
    if epoch is None:
        return f"{text}."
    share = result.seconds / epoch
    return f"{text}, {share:.2%} of a training epoch of {EPOCH:,} samples (about {epoch:.3g} s)."


def _epoch_s(
    model: nn.Module, batch: Any, training: Training | None, calling: Calling
) -> float | None:
    """Seconds of an epoch, from a batch that is really run; None if it cannot be trained like that.

    Such as a model that is frozen, wants labels in training mode, or gives no tensor.
    """
    import torch

    from recent_prune.probe.batches.inputs import first_tensor
    from recent_prune.probe.batches.moving import moved
    from recent_prune.probe.batches.samples import count_of

    trained = copy.deepcopy(model).train()
    device = next(trained.parameters()).device
    batch = moved(batch[:BATCH] if isinstance(batch, torch.Tensor) else batch, device)

    def seconds() -> float:
        before = time.perf_counter()
        output = first_tensor(calling(trained, batch))
        assert output is not None
        output.float().square().mean().backward()
        if optimizer is not None:
            optimizer.step()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - before

    try:
        # PyTorch's first optimizer loads its compiler, so an epoch and its optimizer come first.
        make = None if training is None else training.optimizer
        optimizer = make(trained.parameters()) if callable(make) else None
        each = min([seconds() for _ in range(3)][1:])  # the first warms up
        return each * EPOCH / count_of(batch)
    except Exception:  # whatever a model of somebody's raises: the verdict stands without it
        return None
