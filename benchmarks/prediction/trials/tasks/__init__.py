"""What the trials learn: 23 tasks of 17 data sets, each small enough to be trained on one core.

Real images come from ``--data-root`` (MNIST, and CIFAR-10 as folders of images); everything else is
embedded in scikit-learn, read from Python's own standard library, or drawn from fixed seeds. The
quality of a prediction is free of the task's scale: 0 for the best constant prediction, 1 for a
perfect one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from benchmarks.prediction.trials.tasks import images, sequences, tables
from benchmarks.prediction.trials.tasks.task import Task

__all__ = ["TASKS", "Task", "task"]

TASKS: dict[str, Callable[[Path], Task]] = {
    "mnist": images.mnist,
    "mnist autoencoder": lambda root: images.autoencoder(images.mnist(root)),
    "digits": images.digits,
    "digits autoencoder": lambda root: images.autoencoder(images.digits(root)),
    "cifar10 grey": lambda root: images.cifar10(root, grey=True),
    "cifar10 colour": lambda root: images.cifar10(root, grey=False),
    "shapes": images.shapes,
    "shapes autoencoder": lambda root: images.autoencoder(images.shapes(root)),
    "masks": images.masks,
    "characters": sequences.characters,
    "copying": sequences.copying,
    "sorting": sequences.sorting,
    "modular addition": sequences.modular_addition,
    "parity": sequences.parity,
    "breast_cancer": lambda _: tables.embedded("breast_cancer"),
    "wine": lambda _: tables.embedded("wine"),
    "diabetes": lambda _: tables.embedded("diabetes"),
    "teacher classes": lambda _: tables.teacher("teacher classes"),
    "teacher values": lambda _: tables.teacher("teacher values"),
    "friedman": tables.friedman,
    "wave classes": sequences.wave_classes,
    "wave values": sequences.wave_values,
    "coordinates": tables.coordinates,
}
"""By name: from the folder with the data sets to the task."""


@cache
def task(name: str, root: Path) -> Task:
    """A task, made once in a process."""
    made = TASKS[name](root)
    assert made.name == name
    return made
