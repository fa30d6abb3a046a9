from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from recent_prune import ProbeResult, Training
from recent_prune.cli import app
from recent_prune.data import load_digits
from recent_prune.probe import probe
from recent_prune.rules import Cause, Verdict
from recent_prune.trainability_map import seeded
from tests.cli import factories

MODULE = "tests.cli.factories"
BUILD = ["probe", f"{MODULE}:build", "--data", "digits"]
SGD = ["--optimizer", "sgd", "--optimizer-arg", "momentum=0.9", "--learning-rate", "0.1"]


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
    assert run.output.startswith("Will not train. ")
    assert len([line for line in run.output.splitlines() if line.startswith("│")]) == 16


def test_what_is_not_looked_at_is_said_in_a_line() -> None:
    said = "Not looked at: learning rate and optimizer (--optimizer, --learning-rate)."
    assert said in CliRunner().invoke(app, BUILD).output.splitlines()
    assert "Not looked at" not in CliRunner().invoke(app, [*BUILD, *SGD]).output


def test_other_rules() -> None:
    arguments = [*BUILD, "-a", "depth=60", "-a", "gain=0.3", "--rule"]
    told = {
        rule: CliRunner().invoke(app, [*arguments, rule]).output
        for rule in ("saturation", "trainability")
    }
    assert told["saturation"].startswith("Will not train. The relative entropy saturates")
    plain = CliRunner().invoke(app, arguments[:-1]).output
    assert plain.splitlines()[0] == told["trainability"].splitlines()[0]


class TestFirstSteps:
    def test_are_told_of(self) -> None:
        run = CliRunner().invoke(app, [*BUILD, *SGD, "--budget", "300"])
        assert run.exit_code == 0, run.output
        assert re.search(
            r"6 steps of sgd at learning rate 0\.1: loss 2\.\d+ → \d\.\d+, [\d.]+ → [\d.]+ times "
            r"that of the best constant prediction; accuracy [\d.]+% → [\d.]+% "
            r"\(chance [\d.]+%\)\.",
            " ".join(run.output.split()),  # however wide the console was taken for
        )

    def test_are_those_of_a_probe(self) -> None:
        options = ["--steps", "3", "--budget", "50", "--batch-size", "32"]
        run = CliRunner().invoke(app, [*BUILD, *SGD, *options, "--seed", "4", "--json"])
        known = json.loads(run.output)
        found = ProbeResult.from_dict(known["result"])
        digits = load_digits()
        training = Training(
            cross_entropy,
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
            steps=3,
            budget=50,
            batch_size=32,
        )
        model = seeded(factories.build, {}, 4)
        data = (digits.train, digits.train_labels)
        assert found == probe(model, data, training=training, seed=4)
        assert {"cause", "advice", "reason", "violation"} <= set(known)

    def test_cause_and_advice_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        verdict = Verdict(False, 0.5, "It [is] bad.", Cause.DIVERGES, "Take a tenth [of it].")
        monkeypatch.setattr("recent_prune.cli.rules.rule_named", lambda _: lambda _: verdict)
        run = CliRunner().invoke(app, [*BUILD, *SGD])
        assert run.exit_code == 3
        assert run.output.splitlines()[:3] == [
            "Will not train. It [is] bad.",
            "Cause: diverges.",
            "Advice: Take a tenth [of it].",
        ]
        known = json.loads(CliRunner().invoke(app, [*BUILD, *SGD, "--json"]).output)
        assert (known["cause"], known["advice"]) == ("diverges", "Take a tenth [of it].")

    def test_that_are_not_finite_condemn(self) -> None:
        run = CliRunner().invoke(app, ["probe", f"{MODULE}:broken", *BUILD[2:], *SGD])
        assert run.exit_code == 3
        assert "Cause: non-finite." in run.output.splitlines()

    def test_of_a_loader_and_other_losses(self) -> None:
        arguments = ["probe", f"{MODULE}:build", "--data", f"{MODULE}:labelled", *SGD, "--json"]
        losses = []
        for loss in ("cross_entropy", f"{MODULE}:halved"):
            run = CliRunner().invoke(app, [*arguments, "--loss", loss])
            losses.append(json.loads(run.output)["result"]["steps"]["loss_before"])
        assert losses[0] == pytest.approx(2 * losses[1])

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            ("digits", ["--optimizer", "sdg"], "--optimizer must be one of adadelta"),
            ("digits", ["--loss", "entropy"], "--loss must be a function of torch.nn.functional"),
            ("digits", ["--learning-rate", "-1"], "raised ValueError: Invalid learning rate: -1"),
            ("digits", ["--optimizer-arg", "m"], "--optimizer-arg must be NAME=VALUE, but got m"),
            ("digits", ["--steps", "9", "--budget", "3"], "`steps` must be at most `budget`"),
            ("digits", ["--loss", "none"], "takes 2 positional arguments but 3 were given"),
            ("digits", ["--loss", "mse_loss"], "Raised in the loss|UserWarning|size"),
            (f"{MODULE}:samples", [], "`loss` needs a target"),
        ],
    )
    def test_errors_are_one_line(self, data: str, options: list[str], message: str) -> None:
        command = ["probe", f"{MODULE}:build", "--data", data, *SGD, *options]
        run = CliRunner().invoke(app, command)
        assert run.exit_code == 1, run.output
        assert len(run.stderr.splitlines()) == 1
        assert re.search(message, run.stderr)

    @pytest.mark.parametrize(
        "options",
        [
            ["--learning-rate", "1"],
            ["--loss", "mse_loss"],
            ["--budget", "9"],
            ["--steps", "3"],
            ["--batch-size", "3"],
            ["--optimizer-arg", "a=1"],
            ["--optimizer", "sgd", "--steps", "0"],
        ],
    )
    def test_options_without_an_optimizer_exit_with_2(self, options: list[str]) -> None:
        run = CliRunner().invoke(app, [*BUILD, *options])
        assert run.exit_code == 2
        name = options[-2]
        assert name in run.stderr
        assert "needs --optimizer" in run.stderr or "to 1" in run.stderr


class TestCall:
    SCALED = ("probe", f"{MODULE}:scaled", "--data", "digits")

    @pytest.mark.parametrize("options", [[], [*SGD, "--budget", "300"]])
    def test_says_how_the_model_is_called(self, options: list[str]) -> None:
        command = [*self.SCALED, *options, "--json"]
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 1
        assert "call=lambda model, batch: model(…)" in refused.stderr
        run = CliRunner().invoke(app, [*command, "--call", f"{MODULE}:halving"])
        assert run.exit_code == 0, run.output
        known = json.loads(run.output)
        assert known["epoch_seconds"] > 0
        found = ProbeResult.from_dict(known["result"])
        assert found.depth == 4
        assert (found.steps is not None) == bool(options)

    def test_that_is_no_function_is_refused(self) -> None:
        run = CliRunner().invoke(app, [*self.SCALED, "--call", f"{MODULE}:LIMIT"])
        assert run.exit_code == 1
        assert "--call must name a function, but tests.cli.factories:LIMIT is int" in run.stderr


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
    command = [sys.executable, "-m", "recent_prune", *BUILD]
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
