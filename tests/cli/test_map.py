from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recent_prune.cli import app
from tests.browser import looked_at, needs_chromium

AXES = ["--x", "gain=0.3:2.0:3", "--y", "depth=2:40:3"]
MAP = ["map", "tests.cli.factories:build", "--data", "digits", *AXES]


def test_map_is_written(tmp_path: Path) -> None:
    html = tmp_path / "map.html"
    run = CliRunner().invoke(app, [*MAP, "--html", str(html)])
    assert run.exit_code == 0, run.output
    assert "of 9 networks will not train" in run.output
    assert str(html) in run.output.replace("\n", "")
    assert "Where it trains" in html.read_text(encoding="utf-8")


@needs_chromium
def test_map_is_a_picture(tmp_path: Path) -> None:
    html, png = tmp_path / "map.html", tmp_path / "map.png"
    run = CliRunner().invoke(app, [*MAP, "--html", str(html), "--png", str(png)])
    assert run.exit_code == 0, run.output
    assert png.stat().st_size > 5_000
    looked_at(html, maps=1)


def test_json_for_scripts(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*MAP, "--html", str(tmp_path / "map.html"), "--json"])
    rows = json.loads(run.stdout)
    assert [(row["gain"], row["depth"]) for row in rows[:2]] == [(0.3, 2), (1.15, 2)]
    assert {row["trainable"] for row in rows} == {True, False}


def test_the_rule_is_the_default_one_unless_named(tmp_path: Path) -> None:
    command = [*MAP, "--html", str(tmp_path / "map.html"), "--json"]
    told = {
        rule: {
            row["reason"] for row in json.loads(CliRunner().invoke(app, [*command, *rule]).stdout)
        }
        for rule in ((), ("--rule", "trainability"), ("--rule", "saturation"))
    }
    assert told[()] == told["--rule", "trainability"] != told["--rule", "saturation"]


def test_networks_that_cannot_be_built_are_counted(tmp_path: Path) -> None:
    arguments = [a.replace("build", "picky") for a in MAP]
    run = CliRunner().invoke(app, [*arguments, "--html", str(tmp_path / "map.html")])
    assert run.exit_code == 0, run.output
    assert "6 could not be probed; the first: RuntimeError: too deep: 9" in " ".join(
        run.output.split()
    )


def test_call_says_how_the_models_are_called(tmp_path: Path) -> None:
    arguments = [a.replace("build", "scaled") for a in MAP]
    html = ["--html", str(tmp_path / "map.html"), "--json"]
    refused = CliRunner().invoke(app, [*arguments, *html])
    assert "no network could be probed" in refused.stderr
    run = CliRunner().invoke(app, [*arguments, *html, "--call", "tests.cli.factories:halving"])
    assert {row["error"] for row in json.loads(run.stdout)} == {None}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--x", "gain"], "--x must be NAME=LOW:HIGH"),
        (["--x", "depth=1:3"], "`x` and `y` must be different arguments, but both are 'depth'"),
        (["--x", "gain=3:1"], "`low` of gain must be below `high`, but got 3 and 1"),
        (["--x", "width=1:3"], "no network could be probed; the first: TypeError"),
        (["--html", "/nowhere/map.html"], "--html must lie in a folder that exists"),
    ],
)
def test_errors_are_one_line(extra: list[str], message: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*MAP, "--html", str(tmp_path / "map.html"), *extra])
    assert run.exit_code == 1
    assert len(run.stderr.splitlines()) == 1
    assert message in run.stderr
