"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="For scripts: JSON instead of text.")]
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
RuleOption = Annotated[
    str,
    typer.Option(
        help="What counts as untrainable: trainability, saturation, the name of an installed rule, "
        "or module:name or file.py:name of one of your own."
    ),
]
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
BatchSizeOption = Annotated[
    int | None, typer.Option(min=1, help="Of tensors; 64 by default. Loaders have their own.")
]
StorageArgument = Annotated[
    str,
    typer.Argument(
        help="Optuna storage, e.g. sqlite:///study.db, the file of a journal, or the folder of a "
        "Tune run."
    ),
]
StudyArgument = Annotated[
    str | None, typer.Argument(help="Name of the study; may be left out where there is but one.")
]
