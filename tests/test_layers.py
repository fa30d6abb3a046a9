"""The layers of the package: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "recent_prune"
ALLOWED = {
    "probe": {
        "torch",
        "numpy",
        "rich",  # for a progress bar, if there
        "recent_prune.notebook",
        "recent_prune.probe",
    },
    "preflight": {
        "torch",
        "recent_prune.notebook",
        "recent_prune.probe",
        "recent_prune.preflight",
    },
    "rules": {
        "numpy",
        "scipy",
        "recent_prune.notebook",
        "recent_prune.preflight",
        "recent_prune.probe",
        "recent_prune.rules",
    },
    "optuna": {
        "numpy",
        "torch",
        "optuna",
        "pandas",
        "recent_prune.audit",
        "recent_prune.preflight",
        "recent_prune.probe",
        "recent_prune.rules",
        "recent_prune.optuna",
    },
    "ray": {
        "torch",
        "ray",
        "pandas",
        "pyarrow",
        "recent_prune.audit",
        "recent_prune.preflight",
        "recent_prune.probe",
        "recent_prune.rules",
        "recent_prune.ray",
    },
    "report": {
        "torch",
        "optuna",
        "optuna_dashboard",
        "ray",  # for the results of a Tune run alone
        "pandas",
        "plotly",
        "recent_prune.audit",
        "recent_prune.probe",
        "recent_prune.optuna",
        "recent_prune.ray",
        "recent_prune.report",
        "recent_prune.rules",
    },
}
"""Beyond the standard library. The rules import the results that they judge for their types."""


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield str(node.module)


def shortened(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "recent_prune" else parts[:1])


@pytest.mark.parametrize("layer", ALLOWED)
def test_layers_import_only_what_lies_below(layer: str) -> None:
    files = list((PACKAGE / layer).rglob("*.py"))
    assert files
    for file in files:
        foreign = {shortened(m) for m in imported(file)} - set(sys.stdlib_module_names)
        assert foreign <= ALLOWED[layer], file


def test_rules_run_without_torch() -> None:
    for file in (PACKAGE / "rules").rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith("recent_prune.probe"), file


def test_nothing_imports_studies_and_benchmarks() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert not {m.split(".")[0] for m in imported(file)} & {"studies", "benchmarks", "tests"}


def test_importing_the_package_loads_nothing_beyond_torch() -> None:
    """What that costs is measured by ``benchmarks/import_time``."""
    code = (
        "import sys, torch; before = set(sys.modules); import recent_prune; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "recent_prune" in loaded
    assert loaded - set(sys.stdlib_module_names) <= {"recent_prune", "numpy"}
