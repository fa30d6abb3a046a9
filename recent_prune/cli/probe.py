"""The command `recent-prune probe`."""

from __future__ import annotations

import copy
import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from recent_prune.cli.console import console, errors_in_one_line

if TYPE_CHECKING:  # heavy, so only loaded where needed
    from torch import Tensor, nn

    from recent_prune.probe import ProbeResult
    from recent_prune.rules import Rule

UNTRAINABLE = 3
"""Exit status for a network that cannot train."""
ROWS = 16
"""Layers shown at most."""
EPOCH = 60_000
"""Samples of the epoch that the cost is compared with."""
BATCH = 64


class RuleName(StrEnum):
    """Rules of the command line."""

    RETAINED = "retained"
    SATURATION = "saturation"
    TRAINABILITY = "trainability"

    def rule(self) -> Rule:
        """The rule with its defaults."""
        from recent_prune.rules import RetainedInformationRule, SaturationRule, TrainabilityRule

        rules: dict[RuleName, Rule] = {
            RuleName.RETAINED: RetainedInformationRule(),
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
        "test/CLASS, a .npy or .pt file, or module:function."
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


def probe(
    context: typer.Context,
    factory: FactoryArgument,
    data: DataOption,
    arg: ArgOption = None,
    data_root: RootOption = None,
    rule: RuleOption = RuleName.RETAINED,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Will this train? Probe one model at its initialization.

    Exit status: 0 if it can train, 3 if it cannot, 1 after an error, 2 after a wrong option.

    For example:

        recent-prune probe my_model.py:build --data mnist --arg depth=50

        recent-prune probe torchvision.models:resnet18 --data folder_of_images
    """
    with errors_in_one_line(context.obj):
        from recent_prune import probe as probe_
        from recent_prune.cli.factory import arguments, built, inputs, named
        from recent_prune.probe.probing import gathered
        from recent_prune.probe.reconstructing.ridge import Ridge

        model = built(named(factory, "FACTORY"), arguments(arg or []), seed).to(device)
        samples = gathered(inputs(data, data_root), Ridge().samples, None, seed).inputs
        result = probe_(model, samples, seed=seed)
        verdict = rule.rule()(result)
        epoch = _epoch_s(model, samples)
        if as_json:
            known = {
                "trainable": verdict.trainable,
                "violation": verdict.violation,
                "reason": verdict.reason,
                "epoch_seconds": epoch,
                "result": result.to_dict(),
            }
            typer.echo(json.dumps(known))
        else:
            answer = "[bold]Can train.[/]" if verdict.trainable else "[bold]Will not train.[/]"
            console.print(f"{answer} {escape(verdict.reason)}", highlight=False)
            console.print(_profile(result))
            console.print(_cost(result, epoch), highlight=False)
        if not verdict.trainable:
            raise typer.Exit(UNTRAINABLE)


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


def _epoch_s(model: nn.Module, samples: Tensor) -> float | None:
    """Seconds of an epoch, from a batch that is really run; None if it cannot be trained like that.

    Such as a model that is frozen, wants labels in training mode, or gives no tensor.
    """
    import torch

    trained = copy.deepcopy(model).train()
    device = next(trained.parameters()).device
    batch = samples[:BATCH].to(device)

    def seconds() -> float:
        before = time.perf_counter()
        trained(batch).float().square().mean().backward()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - before

    try:
        return min([seconds() for _ in range(3)][1:]) * EPOCH / len(batch)  # the first warms up
    except Exception:  # whatever a model of somebody's raises: the verdict stands without it
        return None
