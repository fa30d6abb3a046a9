"""The main figures side by side with the best alternative, for the README."""

from __future__ import annotations

from docs.figures import compute_saved, costs, phase_diagrams, prediction
from docs.figures.results import first, markdown, table

RIVALS = {"how far it fell": "how far the loss fell in the same steps"}
OURS, ALTERNATIVE = "`recent_prune`", "the best alternative"


def beside_the_best_alternative() -> str:
    """A row a question; what is measured by which command stands in the results."""
    table_ = markdown([_other_tasks(), *_predictions(), *_costs()])
    sources = (
        compute_saved.IN_OTHER_TASKS,
        prediction.OF_TRIALS,
        prediction.OF_NETWORKS,
        phase_diagrams.STUDIES,
        costs.PROBED,
        costs.GATED,
    )
    commands = ", ".join(f"`{s.command.removeprefix('python -m ').split(' ')[0]}`" for s in sources)
    dates = sorted(source.date for source in sources)
    return f"{table_}\n\nBy {commands} (`python -m`); x86_64, two cores; {dates[0]} to {dates[-1]}."


def _row(question: str, ours: str, alternative: str) -> dict[str, str]:
    return {"question": question, OURS: ours, ALTERNATIVE: alternative}


def _predictions() -> list[dict[str, str]]:
    scores = table(prediction.HELD_OUT, "score")["AUROC"]
    rivals = scores.drop([prediction.OURS, prediction.RANKED, prediction.STEPS])
    best = str(rivals.map(lambda cell: float(first(cell))).idxmax())
    lost, caught = (prediction.held_out_verdicts(column) for column in ("lost", "caught"))
    curves, others = prediction.initialization, "regression on the hyperparameters"
    return [
        _row(
            "Which trials fail, told after six steps? AUROC, held-out tasks",
            scores[prediction.OURS],
            f"{rivals[best]}: {RIVALS.get(best, best)}",
        ),
        _row("How many of them are stopped, how many good ones?", f"{caught}, {lost}", "–"),
        _row(
            "Which initializations train? AUROC, 600 networks",
            curves("probe (default)"),
            f"{curves(others)}: {others}, after other trainings",
        ),
        _row(
            "The same for plain tanh MLPs on FashionMNIST",
            phase_diagrams.mlp_auroc("fashion_mnist", "trainability"),
            f"{phase_diagrams.mlp_auroc('fashion_mnist', 'mean field')}: mean field, for nothing",
        ),
    ]


def _costs() -> list[dict[str, str]]:
    rows = [
        _row(
            "Price of the first steps, wide networks, of an epoch of 60,000",
            costs.first_steps_cost("SGD"),
            "100 %: to train an epoch and look",
        )
    ]
    held = [costs.gate(doomed, "wall_s", "with") for doomed in ("60%", "0%")]
    rows.append(
        _row(
            "Ray Tune, 16 trials, 60 % of them doomed, and none: wall clock",
            " s, ".join(held) + " s",
            f"{costs.gate('0%', 'wall_s', 'without')} s: the same without it",
        )
    )
    return rows


def _other_tasks() -> dict[str, str]:
    """Mean and worst over the tasks, for both shares that are kept."""

    def told(score: str) -> str:
        found = compute_saved.in_other_tasks
        return ", ".join(
            f"{found(f'{score}, {keep}', 'mean')} ({found(f'{score}, {keep}', 'worst')})"
            for keep in ("1/4", "1/8")
        )

    return _row(
        "Cost as above in 23 other tasks, `keep=1/4`, 1/8: mean (worst)",
        told("score"),
        f"{told('loss')}: the loss after the same steps",
    )
