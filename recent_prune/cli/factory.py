"""What a command line names: factories, their arguments, axes and inputs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recent_prune.data import load_digits, load_fashion_mnist, load_image_folder, load_mnist
from recent_prune.probe.batches.inputs import Inputs
from recent_prune.trainability_map import Axis

FORM = "module:name or file.py:name"


def named(text: str, option: str) -> Callable[..., Any]:
    """The function of a module or of a file; the current folder can be imported from.

    Raises:
        ValueError: If it is not there, is no function, or its module cannot be imported.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"{option} must be {FORM}, but got {text}")
    module = _file(Path(place), option) if place.endswith(".py") else _module(place, option)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{option}: {place} has no {name}")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        raise ValueError(f"{option} must name a function that builds a model, but {text} is one")
    if not callable(found):
        raise ValueError(f"{option} must name a function, but {text} is {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _module(name: str, option: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:  # as for `python -m`; a console script starts without it
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ValueError(
            f"{option}: {name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _file(path: Path, option: str) -> Any:
    if not path.is_file():
        raise ValueError(f"{option}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # what is pickled or is a dataclass looks itself up
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(
            f"{option}: {path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def arguments(texts: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs; what is no Python literal is a text.

    Raises:
        ValueError: If one has no name or no value, or a name is given twice.
    """
    known: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--arg must be NAME=VALUE, but got {text}")
        if name in known:
            raise ValueError(f"--arg {name} is given twice")
        known[name] = _literal(value)
    return known


def axis(text: str, option: str) -> Axis:
    """``name=low:high``, with the number of steps and ``log`` or ``linear`` after it if wanted.

    Raises:
        ValueError: If it is not of this form.
    """
    name, equals, rest = text.partition("=")
    parts = rest.split(":")
    scale = parts.pop() if parts[-1] in ("log", "linear") else None
    numbers = [_literal(part) for part in parts]
    plain = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
    if not equals or not name.isidentifier() or len(numbers) not in (2, 3) or not plain:
        raise ValueError(f"{option} must be NAME=LOW:HIGH[:STEPS][:log|:linear], but got {text}")
    if len(numbers) == 3 and not isinstance(numbers[2], int):
        raise ValueError(f"{option}: STEPS must be a whole number, but got {text}")
    log = None if scale is None else scale == "log"
    return Axis.between(name, *numbers, log=log)


def inputs(text: str, root: Path | None) -> Inputs:
    """Samples to probe with: a data set, a folder of images, an array, or what a function gives.

    Args:
        text: ``digits``, ``mnist``, ``fashion_mnist``, a folder with ``train/CLASS`` and
            ``test/CLASS``, a ``.npy`` or ``.pt`` file, or ``module:function``.
        root: Of MNIST and FashionMNIST.

    Raises:
        ValueError: If it is none of these.
    """
    if text == "digits":
        return load_digits().train
    if root is not None and not root.is_dir():
        raise ValueError(f"--data-root: there is no folder {root}")
    if text in ("mnist", "fashion_mnist"):
        load = load_mnist if text == "mnist" else load_fashion_mnist
        return load(root).train
    path = Path(text)
    if path.is_dir():
        return load_image_folder(path).train
    if path.suffix in (".npy", ".pt"):
        return _array(path)
    if ":" in text:
        given: Inputs = named(text, "--data")()
        return given
    raise ValueError(
        "--data must be digits, mnist, fashion_mnist, a folder of images, a .npy or .pt file, or "
        f"{FORM}, but got {text}"
    )


def _array(path: Path) -> Inputs:
    import numpy as np
    import torch

    if not path.is_file():
        raise ValueError(f"--data: there is no file {path}")
    if path.suffix == ".npy":
        array: Inputs = np.load(path)
        return array
    loaded = torch.load(path, weights_only=True)
    if not isinstance(loaded, Tensor):
        raise ValueError(f"--data: {path} must hold a tensor, but holds {type(loaded).__name__}")
    return loaded


def built(factory: Callable[..., nn.Module], known: dict[str, Any], seed: int) -> nn.Module:
    """The factory's module, from a seed.

    Raises:
        ValueError: If the factory raises.
        TypeError: If it makes no module.
    """
    from recent_prune.trainability_map import seeded

    try:
        return seeded(factory, known, seed)
    except TypeError as error:
        if str(error).startswith("`factory` must"):
            raise
        raise ValueError(_told(error)) from error
    except Exception as error:
        raise ValueError(_told(error)) from error


def _told(error: Exception) -> str:
    return f"the factory raised {type(error).__name__}: {error} (arguments: --arg NAME=VALUE)"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
