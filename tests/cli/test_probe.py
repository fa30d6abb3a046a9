from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from recent_prune import ProbeResult
from recent_prune.cli import app

BUILD = ["probe", "tests.cli.factories:build", "--data", "digits"]


def test_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = CliRunner().invoke(app, BUILD)
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert lines[0].startswith("Can train. ")
    assert max(map(len, lines)) <= 80
    assert sum("█" in line for line in lines) == 4
    assert "of a training epoch of 60,000 samples" in " ".join(lines)


def test_one_that_does_not() -> None:
    run = CliRunner().invoke(app, [*BUILD, "-a", "depth=60", "-a", "gain=0.3"])
    assert run.exit_code == 3
    assert run.output.startswith("Will not train. Only 0.00% of the input is retained")
    assert len([line for line in run.output.splitlines() if line.startswith("│")]) == 16


def test_other_rules() -> None:
    arguments = [*BUILD, "-a", "depth=60", "-a", "gain=0.3", "--rule"]
    told = {
        rule: CliRunner().invoke(app, [*arguments, rule]) for rule in ("saturation", "trainability")
    }
    assert {run.exit_code for run in told.values()} == {3}
    assert told["saturation"].output.startswith("Will not train. The relative entropy saturates")
    assert told["trainability"].output.startswith("Will not train. It trains with a prob")


def test_json_for_scripts() -> None:
    run = CliRunner().invoke(app, [*BUILD, "-a", "depth=60", "-a", "gain=0.3", "--json"])
    assert run.exit_code == 3
    known = json.loads(run.output)
    assert known["trainable"] is False
    assert known["violation"] > 0
    assert known["epoch_seconds"] > 0
    result = ProbeResult.from_dict(known["result"])
    assert result.depth == 60


def test_the_seed_is_that_of_the_initialization() -> None:
    def retained(seed: int) -> float:
        state = torch.random.get_rng_state()
        run = CliRunner().invoke(app, [*BUILD, "--seed", str(seed), "--json"])
        assert torch.equal(torch.random.get_rng_state(), state)
        return float(json.loads(run.output)["result"]["retained"][-1])

    assert retained(1) == retained(1) != retained(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such:build", "--data", "digits"], "FACTORY: no_such cannot be imported"),
        (["tests.cli.factories:picky", "--data", "digits", "-a", "depth=9"], "too deep: 9"),
        (["tests.cli.factories:build", "--data", "nowhere"], "--data must be digits"),
        (["tests.cli.factories:no_module", "--data", "digits"], "must return a module"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    run = CliRunner().invoke(app, ["probe", *arguments])
    assert run.exit_code == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("Error: ")
    assert message in run.stderr
    run = CliRunner().invoke(app, ["--debug", "probe", *arguments])
    assert not isinstance(run.exception, SystemExit)


def test_wrong_options_exit_with_2() -> None:
    assert CliRunner().invoke(app, [*BUILD, "--rule", "none"]).exit_code == 2


def test_piped_it_has_no_colours() -> None:
    command = [sys.executable, "-m", "recent_prune.cli", *BUILD]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "\x1b" not in run.stdout
    assert run.stderr == ""
    assert max(map(len, run.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", ["frozen", "choosing"])
def test_what_cannot_be_trained_as_it_is_has_a_verdict(name: str) -> None:
    run = CliRunner().invoke(app, ["probe", f"tests.cli.factories:{name}", "--data", "digits"])
    assert run.exit_code == 0, run.output
    assert run.output.startswith("Can train. ")
    assert "of a training epoch" not in run.output


def test_a_shuffled_loader_is_shuffled_by_the_seed() -> None:
    command = ["probe", "tests.cli.factories:build", "--data", "tests.cli.factories:shuffled"]
    outputs = {CliRunner().invoke(app, [*command, "--json"]).output for _ in range(3)}
    assert len({str(json.loads(output)["result"]["retained"]) for output in outputs}) == 1


def test_errors_of_the_forward_pass_tell_of_the_batch() -> None:
    command = ["probe", "tests.cli.factories:narrow", "--data", "digits"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 1
    assert "for a batch of shape (176, 1, 8, 8)" in run.stderr
