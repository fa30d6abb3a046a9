"""What `python -m release.check` looks at; that it installs and runs, it shows itself."""

from __future__ import annotations

import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import recent_prune
from release import check
from release.environment import Environment, _with_needs, linked_torch

PROJECT = tomllib.loads((check.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_lowest_versions() -> None:
    asked = ["numpy>=1.26", "lightning>=2.6,!=2.6.2", "tzdata>=1; sys_platform == 'win32'", "pip"]
    assert check.lowest(asked) == ["numpy==1.26", "lightning==2.6", "tzdata==1"]


def test_every_dependency_has_a_lowest_version() -> None:
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["demo"]]
    assert len(check.lowest(asked)) == len(asked)


def test_promised_pythons() -> None:
    found = check.pythons(PROJECT["classifiers"])
    assert found[0] == PROJECT["requires-python"].removeprefix(">=")
    assert found == sorted(found, key=lambda text: int(text.split(".")[1]))


def archives(folder: Path, *names: str) -> Path:
    """A wheel and an sdist that hold these."""
    wheel = folder / "recent_prune-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("recent_prune/__init__.py", "recent_prune-1.dist-info/METADATA", *names):
            archive.writestr(name, "")
    file = folder / "pyproject.toml"
    file.write_text("", encoding="utf-8")
    with tarfile.open(folder / "recent_prune-1.tar.gz", "w:gz") as archive:
        archive.add(file, "recent_prune-1/pyproject.toml")
    file.unlink()
    return wheel


def test_the_package_alone(tmp_path: Path) -> None:
    check.hold_the_package_alone(tmp_path, archives(tmp_path))


def test_tests_do_not_belong_into_a_wheel(tmp_path: Path) -> None:
    wheel = archives(tmp_path, "tests/test_me.py", "benchmarks/results.csv")
    with pytest.raises(ValueError, match=r"hold \['benchmarks', 'tests'\], too"):
        check.hold_the_package_alone(tmp_path, wheel)


def test_results_make_it_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.LARGEST, ".whl", 10)
    with pytest.raises(ValueError, match="bytes: does it hold results"):
        check.hold_the_package_alone(tmp_path, archives(tmp_path))


def test_torch_brings_what_only_it_needs() -> None:
    names = {found.metadata["Name"].lower() for found in _with_needs(("torch", "torchvision"))}
    assert {"torch", "torchvision", "sympy", "mpmath"} <= names
    assert not names & {"numpy", "pillow", "optuna"}


def test_an_environment_sees_it(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.packages.mkdir(parents=True)
    linked_torch(environment)
    (line,) = (environment.packages / "linked.pth").read_text(encoding="utf-8").splitlines()
    shown = {path.name for path in Path(line).iterdir()}
    assert "torch" in shown
    assert any(name.startswith("torch-") and name.endswith(".dist-info") for name in shown)
    assert (Path(line) / "torch" / "version.py").is_file()


def test_the_version_is_said_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert recent_prune.__version__.split(".")[:2] == ["0", "2"]
