"""Which architectures are answered: from ``benchmarks/zoo``."""

from __future__ import annotations

from docs.figures.results import Source, markdown, table

FILE = "benchmarks/zoo/results.md"
SOURCE = Source("python -m benchmarks.zoo.run --confirm", "x86_64, two cores", "2026-11-30")


def zoo() -> str:
    """Architectures by source: answered, condemned with or without first steps, really trained."""
    found = table(FILE, "source", "condemned")
    rows = [
        {"source": str(source)} | {str(c): str(row[c]) for c in row.index}
        for source, row in found.iterrows()
    ]
    return markdown(rows, SOURCE)


def zoo_count(figure: str) -> str:
    """One of the figures at the head of the results, by the words that it begins with."""
    found = table(FILE, "figure")
    known = next(name for name in found.index if str(name).startswith(figure))
    return str(found.loc[known].iloc[0]).split(" ")[0].rstrip(",")
