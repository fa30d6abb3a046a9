"""The zoo's table: rows as they come, and what they say together."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables import markdown

RESULTS = Path(__file__).parent / "results.csv"

TRAINING = (
    *("training_error", "trained_steps", "trained_before", "trained_after", "trained_seconds"),
    "trains",
)
"""Of a row: what the short training came to."""

FIELDS = (
    *("name", "source", "family", "called", "built", "parameters", "weighted", "build_seconds"),
    *("answered", "error", "seconds", "forward_seconds", "layers", "unseen", "inputs"),
    *("trainable", "cause", "reason", "notes"),
    *("trial_answered", "trial_error", "trial_seconds", "trial_trainable", "trial_cause"),
    *("trial_reason", "trial_score", "repeatable", "constant_loss", "loss_before", "loss_after"),
    *TRAINING,
)
"""Of a row; without ``trial_`` of the probe without training, with it of that with first steps."""

_TEXTS = ("name", "source", "family", "called", "inputs", "cause", "reason", "notes", "error")

Row = dict[str, Any]


def load(path: Path = RESULTS) -> dict[str, Row]:
    """Rows by name; of those that come again the last."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: {k: _value(k, v) for k, v in row.items() if v} for row in rows}


def save(row: Row, path: Path = RESULTS) -> None:
    """Append a row, so that what is done is done, and several processes may write to one table."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow({name: row.get(name, "") for name in FIELDS})


def compact(path: Path = RESULTS) -> None:
    """Keep the last row of each name."""
    rows = load(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows({f: row.get(f, "") for f in FIELDS} for row in rows.values())


def _value(field: str, text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    if field.removeprefix("trial_") in _TEXTS:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def write(path: Path = RESULTS) -> None:
    """The report beside the table."""
    rows = list(load(path).values())
    path.with_suffix(".md").write_text(report(rows))


def report(rows: list[Row]) -> str:
    """Summary, what was condemned, what failed, and the whole table, as Markdown."""
    rows = sorted(rows, key=lambda row: (row["source"], row["name"]))
    parts = [
        "# The zoo: results",
        "Written by `python -m benchmarks.zoo.run`; what the columns mean is in the README.",
        markdown(summary(rows)),
        "## By source",
        markdown(by_source(rows)),
        "## Condemned",
        _table([r for r in rows if _condemned(r)], _condemnation, "Nothing was condemned."),
        "## Kept, but a short training does not confirm it",
        _table([r for r in rows if _missed(r)], _short, "None."),
        "## Not answered",
        _table([r for r in rows if not _answered(r)], _failure, "All were answered."),
        "## All",
        markdown(pd.DataFrame([_line(row) for row in rows])),
    ]
    return "\n\n".join(parts) + "\n"


def summary(rows: list[Row]) -> pd.DataFrame:
    """The figures that the benchmark is for."""
    answered = [r for r in rows if _answered(r)]
    trained = [r for r in rows if "trains" in r]
    real = [r for r in rows if r["family"] != "doomed"]
    contradicted = [r for r in real if r.get("trains") and _condemned(r)]
    by_steps = [r for r in contradicted if r.get("trial_trainable") is False]
    ratios = pd.Series([r["seconds"] / r["forward_seconds"] for r in answered if _timed(r)])
    known = [r for r in answered if r.get("layers")]
    blind = [r for r in known if r.get("unseen", 0) > 0.5 * r["weighted"]]
    figures = {
        "architectures": len(rows),
        "answered, without and with first steps": f"{len(answered)} ({_share(answered, rows)})",
        "of them meant to train": len(real),
        "condemned without first steps": sum(r.get("trainable") is False for r in real),
        "condemned with first steps": sum(r.get("trial_trainable") is False for r in real),
        "really trained for a short time": len(trained),
        "of the condemned, trained": sum(_condemned(r) and "trains" in r for r in real),
        "condemned, but a short training contradicts it": len(contradicted),
        "the same, condemned with first steps": len(by_steps),
        "doomed on purpose, condemned with first steps": _doomed(rows),
        "more than half of the weighted modules unseen": len(blind),
        "probe without training, seconds: median, 95 %": _quantiles(answered, "seconds"),
        "probe with first steps, seconds: median, 95 %": _quantiles(answered, "trial_seconds"),
        "probe without training, in forward passes of its samples: median, 95 %": (
            f"{ratios.median():.1f}, {ratios.quantile(0.95):.1f}" if len(ratios) else "–"
        ),
    }
    return pd.DataFrame({"figure": list(figures), "": list(figures.values())})


def by_source(rows: list[Row]) -> pd.DataFrame:
    """The same by library."""
    lines = []
    for source in sorted({row["source"] for row in rows}):
        of = [r for r in rows if r["source"] == source]
        lines.append(
            {
                "source": source,
                "architectures": len(of),
                "answered": sum(map(_answered, of)),
                "condemned": sum(map(_condemned, of)),
                "trained": sum("trains" in r for r in of),
                "train": sum(r.get("trains") is True for r in of),
            }
        )
    return pd.DataFrame(lines)


def _answered(row: Row) -> bool:
    return bool(row.get("answered") and row.get("trial_answered"))


def _condemned(row: Row) -> bool:
    return row.get("trainable") is False or row.get("trial_trainable") is False


def _missed(row: Row) -> bool:
    return row.get("trains") is False and row.get("trial_trainable") is True


def _timed(row: Row) -> bool:
    return math.isfinite(row.get("forward_seconds", math.nan)) and row["forward_seconds"] > 0


def _doomed(rows: list[Row]) -> str:
    of = [row for row in rows if row["family"] == "doomed"]
    return f"{sum(row.get('trial_trainable') is False for row in of)} of {len(of)}"


def _share(some: list[Row], of: list[Row]) -> str:
    return f"{len(some) / max(len(of), 1):.1%}"


def _quantiles(rows: list[Row], field: str) -> str:
    values = pd.Series([row[field] for row in rows], dtype=float)
    return f"{values.median():.2f}, {values.quantile(0.95):.2f}" if len(values) else "–"


def _table(rows: list[Row], line: Any, empty: str) -> str:
    return markdown(pd.DataFrame([line(row) for row in rows])) if rows else empty


def _verdict(row: Row, kind: str) -> str:
    if not row.get(f"{kind}answered"):
        return "error"
    return "kept" if row[f"{kind}trainable"] else f"condemned: {row.get(f'{kind}cause', '')}"


def _training(row: Row) -> str:
    if row.get("training_error"):
        return str(row["training_error"])[:60]
    if "trains" not in row:
        return ""
    numbers = f"{_number(row, 'trained_before')} → {_number(row, 'trained_after')}"
    known = math.isfinite(row.get("constant_loss", math.nan))
    constant = f", constant {_number(row, 'constant_loss')}" if known else ""
    return f"{'trains' if row['trains'] else 'does not'} ({numbers}{constant})"


def _condemnation(row: Row) -> Row:
    kind = "trial_" if row.get("trial_trainable") is False else ""
    return {
        "architecture": row["name"],
        "without steps": _verdict(row, ""),
        "with steps": _verdict(row, "trial_"),
        "reason": _cell(row.get(f"{kind}reason", "")),
        "short training": _training(row),
    }


def _short(row: Row) -> Row:
    return {
        "architecture": row["name"],
        "score": _number(row, "trial_score"),
        "short training": _training(row),
    }


def _failure(row: Row) -> Row:
    return {
        "architecture": row["name"],
        "without steps": _cell(row.get("error", "")),
        "with steps": _cell(row.get("trial_error", "")),
    }


def _line(row: Row) -> Row:
    ratio = f"{row['seconds'] / row['forward_seconds']:.1f}" if _timed(row) else ""
    return {
        "architecture": row["name"],
        "family": row["family"],
        "called": row["called"],
        "weighted modules": int(row.get("weighted", 0)),
        "layers": int(row.get("layers", 0)),
        "unseen": int(row.get("unseen", 0)),
        "s": f"{row['seconds']:.2f}" if "seconds" in row else "",
        "passes": ratio,
        "verdict": _verdict(row, ""),
        "s with steps": f"{row['trial_seconds']:.2f}" if "trial_seconds" in row else "",
        "verdict with steps": _verdict(row, "trial_"),
        "short training": _training(row),
    }


def _number(row: Row, field: str) -> str:
    value = row.get(field, math.nan)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "/")[:240]
