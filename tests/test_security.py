"""What is read runs no code, what is shown is escaped, secrets stay secret, versions are pinned."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from typer.testing import CliRunner

from recent_prune.cli import app
from recent_prune.optuna import attributes, stored_images
from recent_prune.probe.result import Reconstructions
from recent_prune.report import StudyReport, dashboard, html_page, plot_trainability_map
from tests.browser import needs_chromium, opened
from tests.rules.results import result

ROOT = Path(__file__).parent.parent
RUNS_CODE = {
    *("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "pd.read_pickle"),
    *("pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load"),
    *("dill.load", "dill.loads", "marshal.load", "marshal.loads", "shelve.open"),
}
OWN = {("recent_prune/ray/pool.py", "cloudpickle.loads")}
"""What the driver gave its probe actors through Ray, which pickles all that it passes on itself."""


def running_code(source: str) -> Iterator[str]:
    """Calls that may run what is in a file, or a shell."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        unsafe = (
            name in RUNS_CODE,
            name == "torch.load" and given.get("weights_only") != "True",
            "load_from_checkpoint" in name,
            given.get("allow_pickle", "False") != "False",
            given.get("shell", "False") != "False",
        )
        if any(unsafe):
            yield name


@pytest.mark.parametrize(
    "call",
    [
        "eval(text)",
        "pickle.loads(stored)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(command, shell=True)",
        "yaml.load(text)",
    ],
)
def test_a_call_that_runs_code_would_be_noticed(call: str) -> None:
    assert list(running_code(f"def f():\n    return {call}")) == [call.split("(")[0]]


def test_nothing_that_is_read_can_run_code() -> None:
    files = [
        p for name in ("recent_prune", "studies", "examples") for p in ROOT.glob(f"{name}/**/*.py")
    ]
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in running_code(path.read_text(encoding="utf-8"))
    }
    assert found == OWN


HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "</script><script>window.hacked = 1</script>",
    '<a href="javascript:window.hacked=1">a</a>',
    "<!--<script>",
)
"""Names that a browser must show, not run."""
HARMLESS = tuple(f"name {number}" for number, _ in enumerate(HOSTILE))


def study_of(names: tuple[str, ...]) -> Study:
    """All that a user, a layer or a storage names is one of these."""
    study = optuna.create_study(direction="maximize", study_name=names[0])
    space = {names[1]: FloatDistribution(0, 1), names[2]: CategoricalDistribution(names)}
    for number in range(8):
        kept = number % 2 == 0
        told = {
            attributes.TRAINABLE: kept,
            attributes.VIOLATION: -0.5 if kept else 0.5 + number / 100,
            attributes.TRIAL: number,
            attributes.REASON: f"The activations of {names[number % 5]!r} are not finite.",
            attributes.CAUSE: None if kept else names[3],
            attributes.ADVICE: names[4],
            attributes.RETAINED: 0.1 + number / 100,
            attributes.RELATIVE_ENTROPY: 0.4,
            attributes.CUTOFF: 1,
            attributes.DEPTH: 2,
            attributes.SECONDS: 0.1,
            attributes.RECONSTRUCTIONS: images_of(names),
            names[1]: names[2],
        }
        failed = {
            attributes.TRAINABLE: True,
            attributes.TRIAL: number,
            attributes.FAULT: f"ValueError: {names[2]}",
            attributes.SECONDS: 0.1,
        }
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if kept else TrialState.PRUNED,
                value=0.5 if kept else None,
                params={names[1]: number / 8, names[2]: names[number % 5]},
                distributions=space,
                user_attrs=failed if number == 6 else told,
            )
        )
    return study


def images_of(names: tuple[str, ...]) -> dict[str, object]:
    shown = Reconstructions(torch.rand(1, 1, 4, 4), torch.rand(2, 1, 1, 4, 4))
    return stored_images.to_attribute(
        result([0.5, 0.4], layers=(names[0], names[1]), reconstructions=shown)
    )


def page_of(names: tuple[str, ...], folder: Path) -> Path:
    """Everything that this package shows, on one page."""
    study = study_of(names)
    report = StudyReport.of(study, params=(names[1], names[2]))
    table = pd.DataFrame(
        {
            names[1]: [0.1, 0.2],
            names[2]: [names[3], names[4]],
            "retained": [0.1, 0.2],
            "trainable": [True, False],
            "reason": [names[0], names[2]],
            "error": [None, names[1]],
        }
    )
    drawn = (*report.figures, (plot_trainability_map(table), names[3]))
    details = [(names[4], report.pruned)]
    title = f"recent_prune: {report.title}"
    page = html_page(title, names[1], report.summary, drawn, notes=report.warnings, details=details)
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return path


def elements(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements of a page with the names of their attributes."""
    page = re.sub(r'(?s)(?<=<script id="plotly" type="text/plain">)[^<]*', "", page)  # 2 MB
    found: list[tuple[str, tuple[str, ...]]] = []

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, tuple(name for name, _ in attrs)))

    Elements().feed(page)
    return found


def test_names_make_no_elements(tmp_path: Path) -> None:
    hostile, harmless = (
        page_of(names, tmp_path).read_text("utf-8") for names in (HOSTILE, HARMLESS)
    )
    assert elements(hostile) == elements(harmless)
    assert "hacked" in hostile


def test_a_name_that_makes_an_element_would_be_noticed() -> None:
    assert elements(f"<p>{HOSTILE[0]}</p>") != elements(f"<p>{HARMLESS[0]}</p>")


def test_notes_for_the_dashboard_hold_no_elements() -> None:
    trials: list[FrozenTrial] = study_of(HOSTILE).get_trials()
    notes = "\n".join(map(dashboard._note, trials))
    assert elements(notes) == []
    assert "hacked" in notes


@needs_chromium
def test_a_browser_shows_names_and_runs_none(tmp_path: Path) -> None:
    with opened(page_of(HOSTILE, tmp_path)) as (page, errors):
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 8")
        page.locator(".scatterlayer .points path").first.hover(force=True)
        page.wait_for_selector(".hovertext")
        assert "trial" in (page.locator(".hovertext").first.text_content() or "")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0
        assert page.locator("a[href*=javascript]").count() == 0
        assert page.locator("h1").inner_text() == f"recent_prune: {HOSTILE[0]}"
        assert errors == []


STORAGES = (
    "postgresql+psycopg2://me:s3cr3t@127.0.0.1:1/x",
    "postgresql+psycopg2://me:s3cr3t/s3cr3t@127.0.0.1:1/x",
    "postgresql+psycopg2://me:s3cr3t?s3cr3t@127.0.0.1:1/x",
    "postgresql+psycopg2://me:x@s3cr3t@127.0.0.1:1/x",
    "postgresql+psycopg2://me:s3cr3t%20s3cr3t@127.0.0.1:1/x",
    "postgresql+psycopg2://127.0.0.1:1/x?user=me&password=s3cr3t",
    "postgresql+psycopg2://127.0.0.1:1/x?user=me&sslpassword=s3cr3t&sslkey=s3cr3t",
    "nonsense://me:s3cr3t@127.0.0.1/x",
    "postgresql+psycopg2://me:s3cr3t@127.0.0.1:port/x",
)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("command", ["report", "audit"])
def test_secrets_of_a_storage_are_not_shown(command: str, storage: str) -> None:
    run = CliRunner().invoke(app, ["--verbose", command, storage, "study"])
    assert run.exit_code == 1
    assert "cannot be read" in run.output
    assert "s3cr3t" not in run.output


def test_all_that_is_promised_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {canonical(re.split(r"[\[<>=!~;\s]", line)[0]) for line in wanted}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[\w.-]+==[\w.+]+( ;.*)?", line)] == []
    assert names - {canonical(line.split("==")[0]) for line in pinned} == {"recent-prune"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
