"""Tables of the rows that were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from benchmarks.environment import told
from benchmarks.tables import markdown

LARGE = 64 * 2**20
"""Bytes from which a model's own part is more than what libraries set up for it."""

GOALS = {"cpu": (0.10, 0.25), "cuda": (0.05, 0.12)}
"""Median and 95th percentile of the absolute error of the peak."""

BELOW = 0.1
"""By which the lower end of an estimate, which alone condemns, lies below what it is without
libraries on a CPU."""

TIME_GOAL = 0.10
ESTIMATE_S = 3.0


def report(file: Path, page: Path) -> None:
    """Write a page of tables about the rows of a file, and the costs beside it."""
    device = file.stem.removeprefix("rows_")
    rows = with_errors(pd.read_csv(file, keep_default_na=False, na_values=[""]))
    failed = rows[rows["measured"].isna()]
    known = rows.drop(failed.index)
    costs = json.loads(file.with_name(f"costs_{device}.json").read_text())
    parts = [
        f"# Estimated against measured: {device}",
        f"{known['model'].nunique()} models, {len(known)} rows; {len(failed)} failed. Protocol: "
        f"`measure.py`. {told('torchvision', 'timm', 'transformers')}.",
        markdown(goals(known, costs, device)),
        "Error of the peak: estimated / measured − 1.",
        markdown(by(known, "library")),
        markdown(by(known, "optimizer")),
        markdown(by(known.assign(autocast=known["autocast"].fillna("none")), "autocast")),
        "The largest errors either way:",
        markdown(extremes(known)),
    ]
    others = file.with_name(file.name.replace("rows_", "rows_held_out_"))
    if others.exists():
        parts += held_out(others, device)
    if len(failed):
        parts += ["Failed:", markdown(failed[["model", "batch", "error"]])]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def held_out(file: Path, device: str) -> list[str]:
    """The same of models that nothing was fitted to."""
    rows = with_errors(pd.read_csv(file, keep_default_na=False, na_values=[""]))
    known = rows.dropna(subset=["measured"])
    return [
        "## Models that nothing was fitted to",
        f"{known['model'].nunique()} models, {len(known)} rows; {len(rows) - len(known)} failed. "
        "What is kept by libraries was fitted to the rows above, and stood before any of these was "
        "measured.",
        markdown(goals(known, {}, device)),
        markdown(by(known.assign(autocast=known["autocast"].fillna("none")), "autocast")),
        markdown(extremes(known)),
    ]


def with_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """With the relative errors of memory and time."""
    found = rows.assign(off=rows["estimated"] / rows["measured"] - 1)
    if "training_s" in found:
        return found.assign(time_off=found["predicted_s"] / found["training_s"] - 1)
    return found.assign(time_off=float("nan"))


def goals(rows: pd.DataFrame, costs: dict[str, dict[str, float]], device: str) -> pd.DataFrame:
    """Each of the issue's figures against its goal."""
    median, most = GOALS[device]
    large = rows[rows["measured"] >= LARGE]
    time = rows["time_off"].dropna().abs()
    lines = []
    for name, part in (("all rows", rows), ("from 64 MiB on", large)):
        off = part["off"].abs()
        lines += [
            (f"peak, median error, {name} ({len(part)})", f"≤ {median:.0%}", f"{off.median():.1%}"),
            ("its 95th percentile", f"≤ {most:.0%}", f"{off.quantile(0.95):.1%}"),
        ]
    lines.append(("estimated above the measured, at most", "", f"{max(rows['off'].max(), 0):.1%}"))
    limit = rows["measured"].quantile(2 / 3)
    condemned = (rows["estimated"] - rows["estimated_libraries"]) * (1 - BELOW) > limit
    too_large = rows["measured"] > limit
    caught = f"{(condemned & too_large).sum()} of {too_large.sum()}"
    lines.append(
        (f"of the third above {limit / 2**20:.0f} MiB, condemned at that limit", "", caught)
    )
    lines.append(("condemned though they fit", "0", f"{(condemned & ~too_large).sum()}"))
    told = f"{time.median():.1%}" if len(time) else "–"
    lines.append((f"whole training, median error ({len(time)})", f"≤ {TIME_GOAL:.0%}", told))
    for name, cost in costs.items():
        seconds = f"{cost['seconds']:.1f} s ({cost['cpu_seconds']:.1f} s of CPU)"
        lines.append((f"seconds of an estimate, {name}", f"≤ {ESTIMATE_S:.0f}", seconds))
        share = f"{cost['took'] / 2**20:.0f} of {cost['parameters'] / 2**20:.0f} MiB"
        lines.append(("memory that it takes, of the parameters'", "< 100%", share))
    if device != "cuda":
        median, most = GOALS["cuda"]
        missing = "not measured: no GPU could be had (`--device cuda`)"
        lines.append(
            ("peak on a GPU, median error; 95 %", f"≤ {median:.0%}; ≤ {most:.0%}", missing)
        )
    return pd.DataFrame(lines, columns=["figure", "goal", "measured"])


def by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Errors of the groups that a column makes."""
    lines = []
    for name, part in rows.groupby(column):
        off = part["off"]
        lines.append(
            (
                name,
                len(part),
                f"{off.abs().median():.1%}",
                f"{off.abs().quantile(0.95):.1%}",
                f"{off.min():+.1%} to {off.max():+.1%}",
                f"{(part['measured'] - part['estimated']).median() / 2**20:.1f}",
            )
        )
    names = [column, "rows", "median", "95 %", "range", "missing, median, MiB"]
    return pd.DataFrame(lines, columns=names)


def extremes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows furthest off."""
    ordered = rows.sort_values("off")
    found = pd.concat([ordered.head(8), ordered.tail(4)])
    shown = found[["model", "batch", "optimizer"]].copy()
    shown["estimated, MiB"] = (found["estimated"] / 2**20).map("{:.0f}".format)
    shown["measured, MiB"] = (found["measured"] / 2**20).map("{:.0f}".format)
    shown["error"] = found["off"].map("{:+.1%}".format)
    return shown
