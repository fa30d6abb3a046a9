"""The command `recent-prune probe`."""

from __future__ import annotations

import copy
import json
import math
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from recent_prune.cli.console import console, errors_in_one_line

if TYPE_CHECKING:  # heavy, so only loaded where needed
    from torch import nn

    from recent_prune.probe import FirstSteps, ProbeResult, Training
    from recent_prune.probe.batches.calling import Calling
    from recent_prune.rules import Rule, Verdict

UNTRAINABLE = 3
"""Exit status for a network that cannot train."""
ROWS = 16
"""Layers shown at most."""
EPOCH = 60_000
"""Samples of the epoch that the cost is compared with."""
BATCH = 64
RTOL = 0.005
"""Of the cutoff, as of `recent_prune.probe`."""


class RuleName(StrEnum):
    """Rules of the command line."""

    SATURATION = "saturation"
    TRAINABILITY = "trainability"

    def rule(self) -> Rule:
        """The rule with its defaults."""
        from recent_prune.rules import SaturationRule, TrainabilityRule

        rules: dict[RuleName, Rule] = {
            RuleName.SATURATION: SaturationRule(),
            RuleName.TRAINABILITY: TrainabilityRule(),
        }
        return rules[self]


FactoryArgument = Annotated[
    str, typer.Argument(help="What makes the model: module:name or file.py:name.")
]
ArgOption = Annotated[
    list[str] | None, typer.Option("--arg", "-a", help="An argument of the factory: NAME=VALUE.")
]
DataOption = Annotated[
    str,
    typer.Option(
        help="What to probe with: digits, mnist, fashion_mnist, a folder with train/CLASS and "
        "test/CLASS, a .npy, .npz or .pt file, or module:function."
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds MNIST/raw or FashionMNIST/raw.", envvar="RECENT_PRUNE_DATA"
    ),
]
RuleOption = Annotated[RuleName, typer.Option(help="What counts as untrainable.")]
DeviceOption = Annotated[str, typer.Option(help="Where to probe, e.g. cpu or cuda.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31, help="Of the initialization.")]
CallOption = Annotated[
    str | None,
    typer.Option(
        help="How the model is called with a batch, where the conventions do not fit: "
        "module:name or file.py:name of a function of model and batch."
    ),
]

LossOption = Annotated[
    str | None,
    typer.Option(
        help="With --optimizer: a function of torch.nn.functional (cross_entropy, the default; "
        "mse_loss; …), module:name or file.py:name of a function of output and target, or none "
        "for a model that returns its own."
    ),
]
OptimizerOption = Annotated[
    str | None,
    typer.Option(
        help="Judge the trial by its first steps with this optimizer: one of torch.optim (sgd, "
        "adam, …), or module:name."
    ),
]
OptimizerArgOption = Annotated[
    list[str] | None, typer.Option(help="Of the optimizer: NAME=VALUE, such as momentum=0.9.")
]


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
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of tensors; 64 by default. Loaders have their own.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="First steps; 6 by default.")] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the full training; without it nothing is too slow."),
    ] = None,
    call: CallOption = None,
    rule: RuleOption = RuleName.TRAINABILITY,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
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
        from recent_prune.cli.training import training
        from recent_prune.probe.probing import calling_of, gathered, probe_samples, warn_of_noise
        from recent_prune.probe.reconstructing.ridge import Ridge

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
        warn_of_noise(result.redundancy)
        verdict = rule.rule()(result)
        if as_json:
            typer.echo(json.dumps(_for_scripts(result, verdict, epoch)))
        else:
            _tell(result, verdict, optimizer, epoch)
        if not verdict.trainable:
            raise typer.Exit(UNTRAINABLE)


def _for_scripts(result: ProbeResult, verdict: Verdict, epoch: float | None) -> dict[str, Any]:
    return {
        "trainable": verdict.trainable,
        "violation": verdict.violation,
        "reason": verdict.reason,
        "cause": None if verdict.cause is None else str(verdict.cause),
        "advice": verdict.advice,
        "epoch_seconds": epoch,
        "result": result.to_dict(),
    }


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
