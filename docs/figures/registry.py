"""All figures by the name by which pages ask for them, and all pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from docs.figures import (
    architecture,
    compute_saved,
    costs,
    faults,
    phase_diagrams,
    prediction,
    stable_surface,
    summary,
    sweep,
    zoo,
)
from docs.figures.markers import filled
from docs.figures.results import ROOT

FIGURES: dict[str, Callable[..., str]] = {
    figure.__name__: figure
    for figure in (
        architecture.rooms,
        compute_saved.condemning,
        compute_saved.cost_of_condemning,
        compute_saved.cost_of_ranking,
        compute_saved.cost_of_ranking_with_intervals,
        compute_saved.least_loss,
        compute_saved.ranking_in_other_tasks,
        compute_saved.trained,
        costs.demo,
        costs.first_steps_cost,
        costs.gate,
        costs.many_at_once,
        costs.memory_of_a_probe,
        costs.memory_of_first_steps,
        costs.on_a_gpu,
        costs.passes_of_large_models,
        costs.probe_cost,
        costs.ray_gate,
        faults.faults,
        phase_diagrams.agreement,
        phase_diagrams.agreement_on_mnist,
        phase_diagrams.vgg16_retained,
        prediction.by_the_paper,
        prediction.caught,
        prediction.certified,
        prediction.certified_overall,
        prediction.first_steps,
        prediction.held_out,
        prediction.held_out_verdicts,
        prediction.initialization,
        prediction.initializations,
        stable_surface.surface,
        summary.beside_the_best_alternative,
        sweep.caption,
        zoo.zoo,
        zoo.zoo_count,
    )
}
PICTURES: dict[str, Callable[[], str]] = {"docs/pictures/sweep.svg": sweep.svg}
"""Files that are written as a whole."""


def pages() -> list[Path]:
    """Where figures may stand."""
    return [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


def current() -> Iterator[tuple[Path, str]]:
    """Every page and picture, with the text that it should have.

    Raises:
        ValueError: If a page has a marker that is wrong.
    """
    for page in pages():
        try:
            yield page, filled(page.read_text(encoding="utf-8"), FIGURES)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{page.relative_to(ROOT)}: {error}") from error
    for name, draw in PICTURES.items():
        yield ROOT / name, draw()
