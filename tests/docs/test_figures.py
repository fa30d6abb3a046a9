"""Figures that are computed for the docs are those that the benchmarks wrote, in docstrings too."""

from __future__ import annotations

import pytest

from docs.figures import compute_saved, costs, phase_diagrams, prediction, zoo
from docs.figures.results import ROOT, first, table
from recent_prune import TrainabilityRule
from recent_prune.optuna import ReconstructionEntropyPruner


@pytest.mark.parametrize("space", compute_saved.SPACES)
def test_what_ranking_costs_is_as_the_benchmark_wrote_it(space: str) -> None:
    place = 2 + list(compute_saved.SPACES).index(space)
    text = (ROOT / "benchmarks/compute_saved/peers.md").read_text(encoding="utf-8")
    for method in compute_saved.RIVALS | compute_saved.BESIDE:
        rows = [line.split("|") for line in text.splitlines() if line.startswith(f"| {method} |")]
        found = compute_saved._ratio(space, method)
        # The first table that names a method is the one of the best of 12, in operations.
        assert rows[0][place].strip().lstrip("(").startswith(f"{found:.2f} [")


@pytest.mark.parametrize("space", compute_saved.SPACES)
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_condemning_leaves_is_as_the_benchmark_wrote_it(space: str, sampler: str) -> None:
    written = table("benchmarks/compute_saved/results.md", "in front of").reset_index()
    for method in compute_saved.IN_FRONT:
        row = written[
            (written["space"] == space)
            & (written["search"] == sampler)
            & (written["in front of"] == method)
        ]
        if not row.empty:
            found = compute_saved._left(space, method, sampler)
            assert first(str(row["total"].iloc[0])) == f"{found:.3f}"


def test_bold_is_the_cheapest_by_itself() -> None:
    rows = compute_saved.cost_of_ranking().splitlines()[2 : 2 + len(compute_saved.SPACES)]
    for row in rows:
        _, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        cells = cells[: len(compute_saved.RIVALS)]
        values = [float(cell.strip("*")) for cell in cells]
        bold = [cell.startswith("*") for cell in cells]
        assert bold == [value == min(values) for value in values]


@pytest.mark.parametrize("least", ["0.3", "0.5"])
@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("untrainable", "untrainable caught"),
        ("good", "good lost"),
        ("mediocre", "mediocre lost"),
    ],
)
def test_what_a_threshold_catches_is_the_sum_over_the_samples(
    kind: str, column: str, least: str
) -> None:
    caught, of = 0, 0
    for sample in prediction.UNSEEN:
        written = table(f"benchmarks/prediction/results_{sample}_digits.md", "rule", "family")
        cell = str(written.loc[f"TrainabilityRule({least})", column]) if least == "0.3" else None
        if cell is None:  # by family as well
            rows = written.loc[f"TrainabilityRule({least})"]
            cell = str(rows.loc[rows["family"] == "all", column].iloc[0])
        one, other = cell.split(" of ")
        caught, of = caught + int(one), of + int(other)
    assert prediction.caught(kind, least) == f"{caught} of {of}"


def test_docstrings_say_the_same() -> None:
    rule = " ".join(str(TrainabilityRule.__doc__).split())
    assert f"loses {prediction.caught('good')} good ones" in rule
    assert f"catches {prediction.caught('untrainable')} that do not train" in rule
    for least in ("0.5", "0.3"):
        lost = prediction.caught("good", least).split(" ")[0]
        caught = prediction.caught("untrainable", least).split(" ")[0]
        said = f"{least} throughout loses {lost} and catches {caught}"
        assert said in rule or f"{least} throughout {lost} and {caught}" in rule
    pruner = " ".join(str(ReconstructionEntropyPruner.__doc__).split())
    left = [compute_saved._ratio(space, compute_saved.KEEP) for space in compute_saved.SPACES]
    assert f"1/8 left {min(left):.2f} to {max(left):.2f} of a random search's compute" in pruner


def test_ranges_and_shares() -> None:
    assert costs.first_steps_cost("SGD", "narrow") == "2.4 %"
    low, high = costs.first_steps_cost("Adam").removesuffix(" %").split(" to ")
    assert 0 < float(low) < float(high) < 2
    assert costs.gate("60%").startswith("−")
    assert costs.gate("0%").startswith("+")
    assert float(costs.gate("60%", "wall_s", "with")) < float(
        costs.gate("60%", "wall_s", "without")
    )
    assert costs.on_a_gpu("50").endswith(" ms")


def test_each_network_and_data_set_has_one_line_of_agreement() -> None:
    rows = phase_diagrams._rows()
    assert len({(row["network"], row["data"]) for row in rows}) == len(rows) == 12
    on_mnist = next(r for r in rows if (r["network"], r["data"]) == ("tanh MLP", "mnist"))
    assert on_mnist["scale"] == "small"
    assert phase_diagrams.mlp_auroc("mnist", "trainability") == first(
        on_mnist["AUROC, trainability"]
    )


def test_sources_of_the_zoo_add_up() -> None:
    by_source = table(zoo.FILE, "source", "condemned")["architectures"]
    assert str(by_source.map(int).sum()) == zoo.zoo_count("architectures")
