"""Probe the zoo: ``python -m benchmarks.zoo.run [--confirm] [--only PATTERN] [--again]``.

A row is saved as soon as an architecture is done; one that is in the table is skipped, unless
``--again`` is said. An architecture that fails, or takes too long, stops no other one.
``--confirm`` then really trains those that are small, and all that are condemned.
"""

from __future__ import annotations

import gc
import importlib
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.zoo.measure import confirmed, measured, warm_up
from benchmarks.zoo.report import RESULTS, TRAINING, load, save, write
from benchmarks.zoo.specification import Entry, unique

ROOMS = {
    "own": (
        *("own.pairs", "own.tables", "own.recurrent", "own.sequences", "own.autoencoders"),
        *("own.generative", "own.fields", "own.structures", "own.starts"),
    ),
    "graphs": ("own.graphs",),
    "torchvision": ("libraries.torchvision_models",),
    "transformers": (
        *("libraries.transformers_encoders", "libraries.transformers_decoders"),
        *("libraries.transformers_seq2seq", "libraries.transformers_vision"),
        "libraries.transformers_pairs",
    ),
    "timm": ("libraries.timm_models",),
}
"""Where the entries of each source are."""


def entries(sources: list[str] | None = None) -> dict[str, Entry]:
    """All whose library is installed, by name; the others are named on standard error."""
    found: list[Entry] = []
    for source, modules in ROOMS.items():
        if sources and source not in sources:
            continue
        try:
            for name in modules:
                found += importlib.import_module(f"benchmarks.zoo.{name}").ENTRIES
        except ModuleNotFoundError as error:
            if error.name != source:
                raise
            print(f"{source} is left out: {error}", file=sys.stderr)
    return unique(found)


def main(
    only: Annotated[str, typer.Option(help="Pattern of names.")] = "",
    source: Annotated[list[str] | None, typer.Option(help="Of these sources alone.")] = None,
    part: Annotated[str, typer.Option(help="I/N: every N-th, from the I-th on.")] = "0/1",
    again: Annotated[bool, typer.Option(help="Probe also what is in the table.")] = False,
    failed: Annotated[bool, typer.Option(help="What failed, again.")] = False,
    confirm: Annotated[bool, typer.Option(help="Train small and condemned ones.")] = False,
    results: Annotated[Path, typer.Option(help="The table.")] = RESULTS,
) -> None:
    """Probe what is not in the table yet, and write the report."""
    torch.set_num_threads(1)
    warm_up()
    first, step = map(int, part.split("/"))
    chosen = [e for e in entries(source).values() if re.search(only, e.name)][first::step]
    for number, entry in enumerate(chosen, start=1):
        row = load(results).get(entry.name)
        if row is None or again or (failed and is_failed(row)):
            trained = {name: row[name] for name in TRAINING if name in row} if row else {}
            row = measured(entry) | trained
            save(row, results)
            print(f"{number}/{len(chosen)} {_line(row)}", flush=True)
        gc.collect()
    for entry in chosen if confirm else ():
        row = load(results)[entry.name]
        if wants_training(entry, row) and "trains" not in row:
            row = confirmed(entry, row)
            save(row, results)
            print(f"{entry.name}: {_trained(row)}", flush=True)
            gc.collect()
    write(results)


def is_failed(row: dict[str, Any]) -> bool:
    """Whether anything of it raised."""
    return not (row.get("answered") and row.get("trial_answered"))


def wants_training(entry: Entry, row: dict[str, Any]) -> bool:
    """Whether it is small, or condemned by either verdict."""
    condemned = row.get("trainable") is False or row.get("trial_trainable") is False
    return bool(row.get("built")) and (entry.confirm or condemned)


def _line(row: dict[str, Any]) -> str:
    if not row["built"]:
        return f"{row['name']}: NOT BUILT {row['error']}"
    parts = [row["name"]]
    for kind in ("", "trial_"):
        if not row.get(f"{kind}answered"):
            parts.append(f"ERROR {row[f'{kind}error']}")
            continue
        said = "kept" if row[f"{kind}trainable"] else f"CONDEMNED {row[f'{kind}reason']}"
        parts.append(f"{row[f'{kind}seconds']:.2f} s {said}")
    parts.append(f"{row.get('layers')} of {row['weighted']}, {row.get('unseen')} unseen")
    return " | ".join(parts)


def _trained(row: dict[str, Any]) -> str:
    if row["training_error"]:
        return f"NOT CLEAR: {row['training_error']}"
    return (
        f"{'trains' if row['trains'] else 'DOES NOT TRAIN'}: {row['trained_before']:.4g} → "
        f"{row['trained_after']:.4g} in {row['trained_steps']} steps, {row['trained_seconds']} s"
    )


if __name__ == "__main__":
    typer.run(main)
