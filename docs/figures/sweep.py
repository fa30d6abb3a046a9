"""The picture at the head of the README: one sweep, from ``everyday_sweep.csv``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from benchmarks.compute_saved.sweep import BEHIND, CONDEMNED, EXPLORED, TRAINED
from docs.figures.compute_saved import FOLDER
from docs.figures.results import ROOT, kept

FILE = f"{FOLDER}/everyday_sweep.csv"
SOURCE = kept("benchmarks.compute_saved.sweep", f"{FOLDER}/everyday_sweep_environment.json")
WIDTH, HEIGHT = 880, 430
LEFT, RIGHT, TOP, BOTTOM = 64, 600, 62, 340
"""Of the plot, pixels."""
BARS, BAR = 650, 190
"""Where the bars of compute begin, and the length of the whole, pixels."""
RATES = (-5, 0)
"""Powers of ten of the axis of learning rates."""
STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:15px}.small{font-size:12px}.end{text-anchor:end}
.middle{text-anchor:middle}.page{fill:#fff}.grid{stroke:#d8dee4}.all{fill:#d8dee4}
.trained{fill:#0072b2}.explored{fill:none;stroke:#0072b2;stroke-width:2}
.behind{fill:none;stroke:#6e7781}.condemned{stroke:#c2410c;stroke-width:1.6}
.best{fill:none;stroke:#1f2328;stroke-width:1.5}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.grid{stroke:#30363d}
.all{fill:#484f58}.trained{fill:#58a6ff}.explored{stroke:#58a6ff}.behind{stroke:#8b949e}
.condemned{stroke:#ff9a57}.best{stroke:#e6edf3}}"""


@dataclass(frozen=True)
class Sweep:
    """What became of the candidates, and what it cost.

    Attributes:
        candidates: A row each.
        cost: Of trainings and probes, over that of training all.
        probes: Of probes alone, likewise.
    """

    candidates: pd.DataFrame
    cost: float
    probes: float

    @classmethod
    def read(cls) -> Sweep:
        """The recorded one."""
        found = pd.read_csv(ROOT / FILE)
        ran = found["outcome"].isin([TRAINED, EXPLORED])
        all_ = found["training_flops"].sum()
        probes = found["probe_flops"].sum()
        spent = found.loc[ran, "training_flops"].sum() + probes
        return cls(found, float(spent / all_), float(probes / all_))

    def count(self, *outcomes: str) -> int:
        """Candidates with one of these outcomes."""
        return int(self.candidates["outcome"].isin(outcomes).sum())

    def best(self, *outcomes: str) -> float:
        """The best accuracy of candidates with one of these outcomes, of all by default."""
        known = self.candidates
        chosen = known["outcome"].isin(outcomes) if outcomes else known["outcome"].notna()
        return float(known.loc[chosen, "accuracy"].max())


def caption() -> str:
    """What the picture shows, in words."""
    sweep = Sweep.read()
    not_trained = sweep.count(CONDEMNED, BEHIND)
    at_random = sweep.count(EXPLORED)
    of_them = f", {at_random} of them at random" if at_random else ""
    return (
        f"A real sweep, `keep=1/8`: {len(sweep.candidates)} candidates (MLPs, CNNs, transformers; "
        f"learning rate, optimizer and more) make six steps each. "
        f"{sweep.count(TRAINED, EXPLORED)} are trained{of_them}; "
        f"{not_trained} are not: {sweep.count(CONDEMNED)} cannot train, {sweep.count(BEHIND)} rank "
        f"behind. The best found has an accuracy of {sweep.best(TRAINED, EXPLORED):.3f}, the best "
        f"of all {sweep.best():.3f}, at {sweep.cost:.0%} of what training all would have cost. "
        f"(All were really trained once, so the end of each is known. {SOURCE})"
    ).replace("%", " %")


def svg() -> str:
    """The picture, with colours for light and for dark pages."""
    sweep = Sweep.read()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title">',
        '<title id="title">Accuracy at the end of training over the learning rate, by what became '
        "of each candidate, and what the sweep cost</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        *_axes(),
        *_marks(sweep),
        *_legend(sweep),
        *_bars(sweep),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _x(rate: float) -> float:
    low, high = RATES
    return LEFT + (math.log10(rate) - low) / (high - low) * (RIGHT - LEFT)


def _y(accuracy: float) -> float:
    return BOTTOM - accuracy * (BOTTOM - TOP)


def _axes() -> Iterator[str]:
    yield f'<text class="title" x="{LEFT}" y="26">Accuracy at the end of the training</text>'
    for accuracy in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(accuracy)
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="small end" x="{LEFT - 8}" y="{y + 4:.1f}">{accuracy:g}</text>'
    for power in range(RATES[0], RATES[1] + 1):
        x = _x(10.0**power)
        rate = f"{10.0**power:g}".replace("e-0", "e-")
        yield f'<text class="small middle" x="{x:.1f}" y="{BOTTOM + 18}">{rate}</text>'
    middle = (LEFT + RIGHT) / 2
    yield f'<text class="small middle" x="{middle:.1f}" y="{BOTTOM + 36}">learning rate</text>'


def _mark(outcome: str, x: float, y: float) -> str:
    if outcome == CONDEMNED:
        path = f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0-7l-7 7"
        return f'<path class="condemned" d="{path}"/>'
    radius = {TRAINED: 4.5, EXPLORED: 4, BEHIND: 3.2}[outcome]
    name = {TRAINED: "trained", EXPLORED: "explored", BEHIND: "behind"}[outcome]
    return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _marks(sweep: Sweep) -> Iterator[str]:
    """What was trained comes last, on top."""
    for outcome in (BEHIND, CONDEMNED, EXPLORED, TRAINED):
        chosen = sweep.candidates[sweep.candidates["outcome"] == outcome]
        for rate, accuracy in zip(chosen["learning_rate"], chosen["accuracy"], strict=True):
            yield _mark(outcome, _x(rate), _y(accuracy))
    best = sweep.candidates.iloc[int(sweep.candidates["accuracy"].argmax())]
    x, y = _x(best["learning_rate"]), _y(best["accuracy"])
    yield f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
    yield f'<text class="small middle" x="{x:.1f}" y="{y - 13:.1f}">best of all</text>'


def _legend(sweep: Sweep) -> Iterator[str]:
    told = {
        TRAINED: "trained",
        EXPLORED: "trained at random",
        BEHIND: "not: ranks behind",
        CONDEMNED: "not: cannot train",
    }
    x = LEFT
    for outcome, text in told.items():
        if not sweep.count(outcome):
            continue
        yield _mark(outcome, x + 5, HEIGHT - 22)
        label = f"{text} ({sweep.count(outcome)})"
        yield f'<text class="small" x="{x + 16}" y="{HEIGHT - 18}">{label}</text>'
        x += 32 + round(6.2 * len(label))


def _bars(sweep: Sweep) -> Iterator[str]:
    yield f'<text class="title" x="{BARS}" y="26">Compute</text>'
    told = (
        (f"all {len(sweep.candidates)} trained: 100 %", 1.0, "all"),
        (f"this sweep: {sweep.cost:.0%}".replace("%", " %"), sweep.cost, "trained"),
        (f"its first steps alone: {sweep.probes:.0%}".replace("%", " %"), sweep.probes, "trained"),
    )
    for number, (text, share, name) in enumerate(told):
        y = TOP + 20 + 64 * number
        yield f'<text x="{BARS}" y="{y}">{text}</text>'
        width = f"{share * BAR:.1f}"
        yield f'<rect class="{name}" x="{BARS}" y="{y + 8}" width="{width}" height="20"/>'
    y = TOP + 20 + 64 * len(told) + 8
    yield f'<text class="title" x="{BARS}" y="{y}">Best accuracy</text>'
    yield f'<text x="{BARS}" y="{y + 24}">all {len(sweep.candidates)}: {sweep.best():.3f}</text>'
    found = f"this sweep: {sweep.best(TRAINED, EXPLORED):.3f}"
    yield f'<text x="{BARS}" y="{y + 46}">{found}</text>'
