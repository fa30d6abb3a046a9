"""Empty environments, which may see the PyTorch of another."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Self

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SHARED = ("torch", "torchvision")
OWN = {"numpy", "pillow"}
"""Needed by those, but of versions that are to be tried."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        folder: Where it lies.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """An empty one, but for pip."""
        venv.create(folder, with_pip=True)
        return cls(folder)

    @property
    def packages(self) -> Path:
        """Where packages are installed."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """What its Python prints; errors are shown as they come.

        Raises:
            subprocess.CalledProcessError: If it fails.
        """
        return self._run("python", *arguments, cwd=cwd)

    def recent_prune(self, *arguments: str, cwd: Path) -> str:
        """The same of the command line."""
        return self._run("recent-prune", *arguments, cwd=cwd)

    def _run(self, name: str, *arguments: str, cwd: Path | None) -> str:
        # Nothing of ours on its path, and no warning unseen.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        command = [str(self.folder / "bin" / name), *arguments]
        done = subprocess.run(
            command, cwd=cwd, env=clean, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


def linked_torch(environment: Environment) -> None:
    """Show an environment the PyTorch that is installed here, with what only PyTorch needs.

    By a path of its own behind the environment's: pip counts what lies there as installed, and
    never removes it.
    """
    links = environment.folder / "linked"
    links.mkdir()
    for found in _with_needs(SHARED):
        for name in {path.parts[0] for path in found.files or () if path.parts[0] != ".."}:
            target = Path(str(found.locate_file(name)))
            if name != "__pycache__" and not (links / name).exists():
                (links / name).symlink_to(target)
    (environment.packages / "linked.pth").write_text(f"{links}\n", encoding="utf-8")


def _with_needs(names: tuple[str, ...]) -> list[Distribution]:
    """Distributions and all that they need here, with the extras that they ask for."""
    known: dict[str, Distribution] = {}
    left = [Requirement(name) for name in names]
    seen = set()
    while left:
        asked = left.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        if name in OWN or (name, extras) in seen:
            continue
        seen.add((name, extras))
        known[name] = distribution(name)
        for need in map(Requirement, known[name].requires or ()):
            chosen = need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            left += [need] if chosen else []
    return list(known.values())
