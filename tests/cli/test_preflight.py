from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from recent_prune.cli import app
from recent_prune.preflight import PreflightResult

BUILD = ["preflight", "tests.cli.factories:build", "--data", "digits", "--optimizer", "adam"]


def run(*options: str) -> Result:
    found: Any = CliRunner().invoke(app, [*BUILD, *options])
    return found  # type: ignore[no-any-return]


def test_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = run("--memory", "1GiB")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("Not condemned. A training step takes about ")
    assert " of 1 GiB: it fits." in told.output
    for part in ("parameters", "activations", "gradients", "optimizer"):
        assert part in told.output


def test_one_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = run("--memory", "50kb", "-a", "depth=9", "--device", "cuda")
    assert told.exit_code == 3
    assert told.output.startswith("Too large. A training step takes about ")
    assert "There is no cuda here" in told.output
    assert "Advice: It fits at no batch size." in told.output


def test_for_scripts() -> None:
    told = run("--json", "--batch-size", "32", "--accumulate", "2", "--autocast", "bfloat16")
    known = json.loads(told.output)
    assert known["verdict"]["trainable"] is True
    assert known["result"].pop("training_seconds") is None
    result = PreflightResult.from_dict(known["result"])
    assert result.batch_size == 32
    assert result.notes == ("A step is one of 2 accumulated batches.",)


def test_time_of_real_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = run("--time", "--budget", "100", "--seconds", "1e-6")
    assert told.exit_code == 3
    assert told.output.startswith("Too slow. The full training takes about ")
    assert "s a step here." in told.output


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (["--seconds", "3"], 2, "--seconds needs --budget and --time"),
        (["--memory", "much"], 1, "--memory must be such as 24GiB, 80GB, a number of bytes"),
        (["--memory", "1.2.3GB"], 1, "--memory must be such as 24GiB"),
        (["--memory", "0"], 1, "`memory` must be a positive number of bytes"),
        (["--autocast", "int8"], 1, "--autocast must be bfloat16 or float16, but got int8"),
        (["--device", "gpu"], 1, "`device` must be a device such as 'cuda', but got 'gpu'"),
        (["-a", "nothing=3"], 1, "the factory raised TypeError"),
    ],
)
def test_wrong_options(
    options: list[str], code: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    told = run(*options)
    assert told.exit_code == code
    assert part in " ".join(told.output.replace("│", " ").split())
