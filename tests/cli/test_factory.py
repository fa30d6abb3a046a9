from __future__ import annotations

from pathlib import Path

import pytest

from recent_prune.cli.factory import arguments, axis, built, named
from recent_prune.trainability_map import Axis
from tests.cli import factories

MODULE = "tests.cli.factories"


def test_functions_of_modules_and_files(tmp_path: Path) -> None:
    assert named(f"{MODULE}:build", "FACTORY") is factories.build
    assert named(f"{MODULE}:Outer.build", "FACTORY") is factories.build
    path = tmp_path / "of_a_user.py"
    path.write_text("import neighbour\ndef build(): return neighbour.VALUE\n", encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n", encoding="utf-8")
    assert named(f"{path}:build", "FACTORY")() == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("build", "FACTORY must be module:name or file.py:name, but got build"),
        (f"{MODULE}:", "FACTORY must be module:name or file.py:name"),
        (f"{MODULE}:nothing", f"FACTORY: {MODULE} has no nothing"),
        (f"{MODULE}:LIMIT", "FACTORY must name a function, but tests.cli.factories:LIMIT is int"),
        ("no_such_module:build", "FACTORY: no_such_module cannot be imported: ModuleNotFoundError"),
        ("no_such_file.py:build", "FACTORY: there is no file no_such_file.py"),
    ],
)
def test_what_cannot_be_found_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named(text, "FACTORY")


def test_a_file_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    path.write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be imported: ZeroDivisionError"):
        named(f"{path}:build", "FACTORY")


def test_arguments_are_literals_or_texts() -> None:
    known = arguments(["depth=50", "gain=1e-1", "shape=(1, 8, 8)", "activation=tanh", "skip=True"])
    assert known == {
        "depth": 50,
        "gain": 0.1,
        "shape": (1, 8, 8),
        "activation": "tanh",
        "skip": True,
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["depth"], "--arg must be NAME=VALUE, but got depth"),
        (["2=3"], "--arg must be NAME=VALUE, but got 2=3"),
        (["a=1", "a=2"], "--arg a is given twice"),
    ],
)
def test_wrong_arguments(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arguments(texts)
    with pytest.raises(ValueError, match=message.replace("--arg", "--optimizer-arg")):
        arguments(texts, "--optimizer-arg")


def test_axes() -> None:
    assert axis("depth=2:5", "--y") == Axis("depth", (2, 3, 4, 5))
    assert axis("gain=1.0:4.0:3:log", "--x") == Axis("gain", (1.0, 2.0, 4.0))
    assert axis("gain=1:100:3:linear", "--x").values == (1, 50, 100)


@pytest.mark.parametrize(
    "text", ["depth", "depth=2", "depth=2:x", "=2:3", "depth=2:3:4:5", "depth=2:3:log:4"]
)
def test_wrong_axes(text: str) -> None:
    with pytest.raises(ValueError, match=r"--x must be NAME=LOW:HIGH\[:STEPS\]"):
        axis(text, "--x")


def test_steps_are_whole() -> None:
    with pytest.raises(ValueError, match="--x: STEPS must be a whole number"):
        axis("depth=2:3:4.5", "--x")


def test_what_a_factory_does_wrong_is_told() -> None:
    with pytest.raises(ValueError, match="the factory raised RuntimeError: too deep: 9"):
        built(factories.picky, {"depth": 9}, 0)
    with pytest.raises(ValueError, match=r"the factory raised TypeError: .*'width'"):
        built(factories.build, {"width": 9}, 0)
    with pytest.raises(TypeError, match="`factory` must return a module, but got int"):
        built(factories.no_module, {}, 0)  # type: ignore[arg-type]


def test_a_model_is_no_function() -> None:
    with pytest.raises(ValueError, match="FACTORY must name a function that builds a model, but"):
        named(f"{MODULE}:instance", "FACTORY")
