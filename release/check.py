"""Everything up to publishing a release, which needs a person.

    python -m release.check                    # minutes; installs from the package registry
    python -m release.check --torch installed  # with the oldest and the newest PyTorch, too: GBs

Builds sdist and wheel (the wheel from the sdist), looks at what they hold and at how their page
renders, and resolves the wheel for every Python that is promised. Then it installs the wheel into
two empty environments, with the lowest versions that ``pyproject.toml`` promises and with the
newest there are, and runs a short demo in each, from an empty folder. PyTorch is several GB, so by
default both see the one that runs this; ``--torch installed`` gives each its own.

Exits with 1 at the first thing that is not as it should be. What it built is in ``dist/``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from release.environment import Environment, linked_torch

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
DEMO = ("demo", "--trials", "4", "--epochs", "1", "--train-samples", "256", "--json")
PROBE = (
    *("probe", "recent_prune.networks:mlp", "--data", "digits", "--json"),
    *("-a", "inputs=64", "-a", "outputs=10", "-a", "width=32", "-a", "depth=3"),
    *("--optimizer", "adam", "--learning-rate", "1e-3"),
)
MEGABYTE = 10**6
LARGEST = {".whl": 2 * MEGABYTE, ".gz": 2 * MEGABYTE}
"""Bytes; results and pictures would be more."""


def main(
    torch: Annotated[
        str, typer.Option(help="linked: the one that runs this. installed: the promised ones.")
    ] = "linked",
    dist: Annotated[Path, typer.Option(help="Where what is built goes.")] = DIST,
) -> None:
    """Check a release."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = built(dist)
    hold_the_package_alone(dist, wheel)
    run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    for version in pythons(project["classifiers"]):
        resolved(wheel, version)
    with tempfile.TemporaryDirectory() as folder:
        for versions in ("lowest", "newest"):
            works(Path(folder) / versions, wheel, project, versions, linked=torch == "linked")
    print(f"{wheel.name} can be published: twine upload {dist}/*")


def built(dist: Path) -> Path:
    """The wheel, beside the sdist that it is from."""
    shutil.rmtree(dist, ignore_errors=True)
    run("build", "--outdir", str(dist), str(ROOT))
    (wheel,) = dist.glob("*.whl")
    return wheel


def hold_the_package_alone(dist: Path, wheel: Path) -> None:
    """No tests, no results, no caches; the sdist what builds the wheel besides.

    Raises:
        ValueError: If there is more.
    """
    (sdist,) = dist.glob("*.tar.gz")
    inside = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    foreign = {name for name in inside if name != "recent_prune" and ".dist-info" not in name}
    with tarfile.open(sdist) as archive:
        foreign |= {name.split("/")[1] for name in archive.getnames()} - {
            *("recent_prune", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"),
            *("CHANGELOG.md", "CITATION.cff", "constraints.txt"),
        }
    if foreign:
        raise ValueError(f"{wheel.name} and {sdist.name} hold {sorted(foreign)}, too")
    for file in (wheel, sdist):
        if file.stat().st_size > LARGEST[file.suffix]:
            raise ValueError(f"{file.name} has {file.stat().st_size} bytes: does it hold results?")


def pythons(classifiers: list[str]) -> list[str]:
    """The versions of Python that are promised."""
    prefix = "Programming Language :: Python :: 3."
    return [f"3.{c.removeprefix(prefix)}" for c in classifiers if c.startswith(prefix)]


def resolved(wheel: Path, python: str) -> None:
    """Whether all that the wheel needs can be had as wheels for a Python; nothing is installed."""
    run(
        *("pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--only-binary=:all:"),
        *("--python-version", python, "--target", "unused", f"{wheel}[demo]"),
    )
    print(f"Python {python}: all that it needs can be had", flush=True)


def lowest(requirements: list[str]) -> list[str]:
    """Of each requirement the lowest version that it allows, as a constraint."""
    found = [text.split(";")[0].split(",")[0] for text in requirements]
    return [text.replace(">=", "==") for text in found if ">=" in text]


def works(
    folder: Path,
    wheel: Path,
    project: dict[str, Any],
    versions: Literal["lowest", "newest"] | str,
    *,
    linked: bool,
) -> None:
    """Install the wheel into an empty environment, and run it from an empty folder.

    Raises:
        subprocess.CalledProcessError: If it cannot be installed, or does not run.
    """
    environment = Environment.create(folder)
    asked = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    pinned = lowest(asked) if versions == "lowest" else []
    if linked:
        linked_torch(environment)
        pinned = [text for text in pinned if not text.startswith("torch")]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pinned), encoding="utf-8")
    environment.run("-m", "pip", "install", "-q", "-c", str(constraints), f"{wheel}[demo]")
    desk = folder / "desk"
    desk.mkdir()
    where = environment.run("-c", "import recent_prune; print(recent_prune.__file__)", cwd=desk)
    if not Path(where.strip()).is_relative_to(folder):
        raise ValueError(f"not the wheel was run, but {where.strip()}")
    known = json.loads(environment.recent_prune("info", "--json", cwd=desk))
    faults = [probe["error"] for probe in known["probes"] if "error" in probe]
    if faults:
        raise ValueError(f"{versions}: the small probe of `recent-prune info` failed: {faults}")
    environment.recent_prune(*PROBE, cwd=desk)
    environment.recent_prune(*DEMO, cwd=desk)
    page = desk / "recent_prune_demo.html"
    shown = ", ".join(f"{name} {number}" for name, number in known["versions"].items() if number)
    print(f"{versions}: the demo runs and wrote {page.stat().st_size:,} bytes; {shown}", flush=True)


def run(module: str, *arguments: str) -> None:
    """A module of this Python, told."""
    print(f"python -m {module} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    typer.run(main)
