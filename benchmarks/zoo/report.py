"""The zoo's table: rows as they come, and what they say together."""
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.csv"
FIELDS = (
    *("name", "source", "family", "called", "built", "parameters", "weighted", "build_seconds"),
    *("answered", "error", "seconds", "forward_seconds", "layers", "unseen", "inputs"),
    *("trainable", "cause", "reason", "notes"),
    *("trial_answered", "trial_error", "trial_seconds", "trial_trainable", "trial_cause"),
    *("trial_reason", "trial_score", "repeatable", "constant_loss", "loss_before", "loss_after"),
    *("training_error", "trained_steps", "trained_before", "trained_after", "trained_seconds"),
    "trains",
)

def load(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Rows by name; of those that come again the last."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: {k: _value(v) for k, v in row.items() if v != ""} for row in rows}


def save(row: dict[str, Any], path: Path = RESULTS) -> None:
    """Append a row, so that two processes may write to one table."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow({name: row.get(name, "") for name in FIELDS})


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return json.loads(text.replace("nan", "NaN").replace("inf", "Infinity"))
    except ValueError:
        return text

def write(path: Path = RESULTS) -> None:
    pass
