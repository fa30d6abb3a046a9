"""How often each fault was seen: from ``benchmarks/faults``."""

from __future__ import annotations

import pandas as pd

from docs.figures.results import ROOT, kept, markdown

FOLDER = "benchmarks/faults"
PARTS = {
    "ray_sweeps": ("with our scheduler", "{:,} Ray Tune sweeps, most of them with kills"),
    "storages": ("all of ours", "{:,} trials of eight processes that are killed, broken storages"),
    "models": ("random models", "{:,} random models, losses and optimizers that fail"),
}


def faults() -> str:
    """What has the goal 0, with how often it was seen, a line for each part."""
    rows = []
    for part, (case, words) in PARTS.items():
        table = pd.read_csv(ROOT / FOLDER / f"{part}.csv", dtype={"goal": str})
        known = table[(table["case"] == case) & (table["goal"] == "0")]
        told = "; ".join(
            f"**{count:.0f} times**: {', '.join(same['what'])}"
            for count, same in known.groupby("counted")
        )
        rows.append({"broken": words.format(int(known["out_of"].max())), "seen": told})
    source = kept("benchmarks.faults.measure", f"{FOLDER}/ray_sweeps_environment.json")
    return markdown(rows, source)
