"""What a command line names: factories, their arguments and axes."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from recent_prune.trainability_map import Axis

logger = logging.getLogger(__name__)

FORM = "module:name or file.py:name"


def named(text: str, option: str) -> Callable[..., Any]:
    """The function of a module or of a file; the current folder can be imported from.

    Raises:
        ValueError: If it is not there, is no function, or its module cannot be imported.
    """
    found = found_in(text, option)
    if isinstance(found, nn.Module):
        raise ValueError(f"{option} must name a function that builds a model, but {text} is one")
    if not callable(found):
        raise ValueError(f"{option} must name a function, but {text} is {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def found_in(text: str, option: str) -> Any:
    """What a module or a file has under a name, ``module:name`` or ``file.py:name``.

    Raises:
        ValueError: If it is not there, or its module cannot be imported.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"{option} must be {FORM}, but got {text}")
    found: Any = _file(Path(place), option) if place.endswith(".py") else _module(place, option)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{option}: {place} has no {name}")
        found = getattr(found, part)
    return found


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


def arguments(texts: Sequence[str], option: str = "--arg") -> dict[str, Any]:
    """``name=value`` pairs; what is no Python literal is a text.

    Raises:
        ValueError: If one has no name or no value, or a name is given twice.
    """
    known: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"{option} must be NAME=VALUE, but got {text}")
        if name in known:
            raise ValueError(f"{option} {name} is given twice")
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


def built(factory: Callable[..., nn.Module], known: dict[str, Any], seed: int) -> nn.Module:
    """The factory's module, from a seed.

    Raises:
        ValueError: If the factory raises.
        TypeError: If it makes no module.
    """
    from recent_prune.trainability_map import seeded

    try:
        model = seeded(factory, known, seed)
    except TypeError as error:
        if str(error).startswith("`factory` must"):
            raise
        raise ValueError(_told(error)) from error
    except Exception as error:
        raise ValueError(_told(error)) from error
    count = sum(p.numel() for p in model.parameters() if not nn.parameter.is_lazy(p))
    logger.info("%s with seed %d: %s, %d parameters", known, seed, type(model).__name__, count)
    return model


def _told(error: Exception) -> str:
    return f"the factory raised {type(error).__name__}: {error} (arguments: --arg NAME=VALUE)"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
