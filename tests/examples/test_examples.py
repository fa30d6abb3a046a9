"""Each example runs as its first lines say, and adds as little as it claims."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
NEEDS = {
    "text_classification": ["transformers", "accelerate"],
    "lightning_trainer": ["lightning"],
    "ray_tune": ["ray"],
}


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, without a graphics card."""
    for library in NEEDS.get(name, ()):
        pytest.importorskip(library, reason=f"{library} is not installed")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / f"{name}.py"), *options]
    # Busy machines take minutes for what an idle one does in half of one.
    return subprocess.run(
        command, capture_output=True, text=True, timeout=380, env=environment, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "printed"),
    [
        ("vision", ["--epochs", "2"], "epoch 2: test accuracy 0."),
        ("text_classification", ["--steps", "12"], "a reach of "),
        ("tabular", [], "best accuracy 0."),
        ("lightning_trainer", ["--epochs", "1"], "23 steps, {'loss': "),
        ("ray_tune", [], "best loss 0."),
    ],
)
def test_runs(name: str, options: list[str], printed: str) -> None:
    done = run(name, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert printed in done.stdout


@pytest.mark.slow
def test_what_diverges_is_not_trained() -> None:
    vision = run("vision", "--learning-rate", "30")
    assert vision.returncode == 1
    assert "it diverges." in vision.stderr
    assert "epoch 1" not in vision.stdout
    text = run("text_classification", "--learning-rate", "3")
    assert text.returncode == 0, text.stderr[-3000:]
    assert "it diverges." in text.stdout
    assert "train_runtime" not in text.stdout
    lightning = run("lightning_trainer", "--learning-rate", "100")
    assert "\n0 steps, " in lightning.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_adds_three_lines_at_most(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    marked = [line for line in text.splitlines() if line.endswith("# added")]
    assert 1 <= len(marked) <= 3
    assert len(text.splitlines()) <= 62
    # What is not marked uses none of the names that were imported, but in type hints and rules.
    imports = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
    names = {a.name for n in imports if "recent_prune" in str(n.module) for a in n.names}
    used = [
        line
        for line in text.splitlines()
        if any(f"{name}(" in line for name in names - {"load_digits"})
    ]
    assert set(used) <= set(marked)


def test_the_trainer_is_probed_with_the_clipping_and_batches_of_its_own() -> None:
    shown = [FOLDER / "text_classification.py", FOLDER.parent / "docs" / "any_model.md"]
    for text in (path.read_text(encoding="utf-8") for path in shown):
        assert "clip_norm=arguments.max_grad_norm or None," in text
        assert "accumulate=arguments.gradient_accumulation_steps," in text


def test_the_readme_names_them_all() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{script.name}]({script.name})" in readme for script in SCRIPTS)
