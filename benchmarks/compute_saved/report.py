"""The comparison as a page and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import bootstrap

from benchmarks.compute_saved.methods import ONE_EPOCH, OURS, with_ours
from benchmarks.compute_saved.table import LATE, Array, Trained
from benchmarks.tables import markdown
from recent_prune import TrainabilityRule

DEAD = 0.3
"""A configuration is dead if its final accuracy is below this; chance is 0.1."""

TUNE = " (Tune)"
EARLY = ("Median", "SuccessiveHalving", "Hyperband", "NaN or below chance", ONE_EPOCH)
"""Peers that judge by early accuracy."""


def page(runs: pd.DataFrame, certified: pd.DataFrame, tables: Mapping[str, Trained]) -> str:
    """All results as Markdown."""
    parts = [
        "# Compute saved",
        "Costs in floating point operations unless it says seconds; probes included. Ratios: "
        "medians over seeds of pairs, with 95 % bootstrap intervals.",
        "## The tables",
        markdown(pd.DataFrame([_about(trained) for trained in tables.values()])),
        f"Good: within 0.02 of the best of the table. Late: good, and below {LATE} after the first "
        f"epoch. Dead: below {DEAD} at the end. Screening: median price of an epoch over that of a "
        "probe.",
        "## What was to be shown",
        markdown(claims(runs, tables)),
        "## Ours in front of each method, against the method alone",
        markdown(_in_front(runs)),
    ]
    for (space, sampler), part in runs.groupby(["space", "sampler"], sort=False):
        parts += [f"## {space}, {sampler} search", markdown(_methods(part))]
    parts += ["## The certified rule", _certified(certified)]
    return "\n\n".join(parts)


def claims(runs: pd.DataFrame, tables: Mapping[str, Trained]) -> pd.DataFrame:
    """The goals, and what was measured."""
    rows = []
    for space in ("wild_mnist", "wild_mnist, plain", "wild_cifar10"):
        part = runs[(runs["space"] == space) & (runs["sampler"] == "random")]
        peer = best_peer(part)
        pair = _pair(part, with_ours(peer), peer)
        rows += [
            _claim(
                f"{space}: ours + {peer} against {peer}, first epochs and probes",
                "≤ 0.33",
                pair["first epochs"],
            ),
            _claim(f"{space}: the same, total", "≤ 0.67", pair["total"]),
            _claim(f"{space}: the same, best value", "no loss", pair["best"]),
            _claim(
                f"{space}: ours alone against none, total",
                "≤ 0.40",
                _pair(part, OURS, "none")["total"],
            ),
        ]
    part = runs[(runs["space"] == "slow") & (runs["sampler"] == "random")]
    slow = _about(tables["slow"])
    for method in (OURS, *EARLY):
        known = part[part["method"] == method]
        goal = "0" if method == OURS else "some"
        share = known["late_lost"].sum() / known["late"].sum()
        found = f"{share:.0%} of those drawn ({slow['late']} networks)"
        rows.append(_claim(f"slow: late trainers lost by {method}", goal, found))
    rows.append(_claim("slow: networks that ours condemns", "0", slow["condemned"]))
    part = runs[(runs["space"] == "benign") & (runs["sampler"] == "random")]
    pair = _pair(part, OURS, "none")
    lost = int(part.loc[part["method"] == OURS, "condemned"].sum())
    rows += [
        _claim("benign: ours against none, total", "≤ 1.01", pair["total"]),
        _claim("benign: the same in seconds", "≤ 1.01", pair["total, seconds"]),
        _claim("benign: trials pruned", "0", str(lost)),
    ]
    wild = _about(tables["wild_mnist"])
    rows += [
        _claim("screening, operations", "≥ 10", wild["screening"]),
        _claim("screening, seconds", "≥ 10", wild["screening, seconds"]),
    ]
    return pd.DataFrame(rows)


def best_peer(part: pd.DataFrame) -> str:
    """The peer that reaches the best value of no pruning, but for `CLOSE`, at the least cost.

    Among those that reach it with at least three seeds of four; in the median.
    """
    names = part["method"]
    peers = part[~names.str.startswith(OURS) & ~names.str.endswith(TUNE) & (names != "none")]
    costs = peers.groupby("method")["to_target_flops"].agg(
        lambda cost: cost.median() if np.isfinite(cost).mean() >= 0.75 else np.inf
    )
    return str(costs.idxmin())


def pictures(runs: pd.DataFrame, folder: Path) -> None:
    """``pareto_SPACE.png`` for random search: quality against cost."""
    for space in runs["space"].unique():
        part = runs[(runs["space"] == space) & (runs["sampler"] == "random")]
        name = space.replace(", ", "_")
        pareto(part, space).write_image(folder / f"pareto_{name}.png", width=900, height=560)


def pareto(part: pd.DataFrame, space: str) -> go.Figure:
    """Mean regret over total cost, each method alone and with ours in front of it.

    Without Tune's, whose runs have fewer trials.
    """
    figure = go.Figure()
    part = part[~part["method"].str.endswith(TUNE)]
    base = part[part["method"] == "none"].set_index("seed")["total_flops"]
    shown: dict[str, tuple[float, float]] = {}
    for method, runs in part.groupby("method", sort=False):
        known = runs.set_index("seed")
        cost = float((known["total_flops"] / base).median())
        shown[str(method)] = cost, float(known["regret"].mean())
    alone = [m for m in shown if not m.startswith(OURS)]
    for method in alone:
        ours = with_ours(method)
        if ours in shown:
            x, y = zip(shown[method], shown[ours], strict=True)
            figure.add_scatter(
                x=x, y=y, mode="lines", line={"color": "#bbb", "width": 1}, showlegend=False
            )
    for name, methods, symbol, colour in (
        ("alone", alone, "circle-open", "#d55e00"),
        ("with ours in front", [m for m in shown if m not in alone], "circle", "#0072b2"),
    ):
        figure.add_scatter(
            x=[shown[m][0] for m in methods],
            y=[shown[m][1] for m in methods],
            text=[m.removeprefix(f"{OURS} + ") for m in methods],
            mode="markers+text",
            textposition="top center",
            textfont={"size": 10},
            marker={"symbol": symbol, "color": colour, "size": 10, "line": {"width": 2}},
            name=name,
        )
    return figure.update_layout(
        title=f"{space}, random search: what is paid, and what is missed",
        xaxis={"title": "total cost, of that without pruning (operations)", "type": "log"},
        yaxis={"title": "best accuracy of the table minus best found (mean)"},
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )


def _about(trained: Trained) -> dict[str, Any]:
    rule = TrainabilityRule()
    condemned = np.asarray([not rule(result).trainable for result in trained.probes])
    dead = trained.final < DEAD
    whole = trained.flops[:, -1]
    seconds = trained.seconds
    return {
        "space": trained.name,
        "configurations": len(trained),
        "epochs": trained.epochs,
        "best": f"{trained.final.max():.3f}",
        "good": int(trained.good.sum()),
        "late": int(trained.late.sum()),
        "dead": int(dead.sum()),
        "dead, of the cost": f"{whole[dead].sum() / whole.sum():.0%}",
        "condemned": int(condemned.sum()),
        "condemned, of the cost": f"{whole[condemned].sum() / whole.sum():.0%}",
        "dead caught": int((condemned & dead).sum()),
        "good condemned": int((condemned & trained.good).sum()),
        "probes, of the cost": f"{trained.probe_flops.sum() / whole.sum():.2%}",
        "in seconds": f"{trained.probe_seconds.sum() / seconds[:, -1].sum():.2%}",
        "screening": f"{np.median(trained.flops[:, 0] / trained.probe_flops):.0f}",
        "screening, seconds": f"{np.median(seconds[:, 0] / trained.probe_seconds):.0f}",
    }


def _claim(case: str, goal: str, measured: object) -> dict[str, object]:
    return {"case": case, "goal": goal, "measured": measured}


def _in_front(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (space, sampler), part in runs.groupby(["space", "sampler"], sort=False):
        methods = list(part["method"].unique())
        for method in methods:
            ours = with_ours(method)
            if method.startswith(OURS) or ours not in methods:
                continue
            row = {"space": space, "search": sampler, "in front of": method}
            rows.append(row | _pair(part, ours, method))
    return pd.DataFrame(rows).drop(columns="total, seconds")


def _pair(part: pd.DataFrame, one: str, other: str) -> dict[str, str]:
    a, b = (part[part["method"] == name].set_index("seed").sort_index() for name in (one, other))
    assert len(a) == len(b) > 0, (one, other)

    def ratio(column: str) -> str:
        return _interval((a[column] / b[column]).to_numpy(), np.median)

    return {
        "first epochs": ratio("first_flops"),
        "total": ratio("total_flops"),
        "total, seconds": ratio("total_seconds"),
        "best": _interval((a["best"] - b["best"]).to_numpy(), np.mean, "+.4f"),
    }


def _methods(part: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for method, runs in part.groupby("method", sort=False):
        none = f"none{TUNE}" if str(method).endswith(TUNE) else "none"
        base = part[part["method"] == none].set_index("seed")
        known = runs.set_index("seed")
        target = known["to_target_flops"] / base["to_target_flops"]
        # Trials that run side by side have no order.
        ordered = not str(method).endswith(TUNE)
        rows.append(
            {
                "method": method,
                "total": f"{(known['total_flops'] / base['total_flops']).median():.3f}",
                "seconds": f"{(known['total_seconds'] / base['total_seconds']).median():.3f}",
                "first epochs": f"{(known['first_flops'] / base['first_flops']).median():.3f}",
                "to the target": f"{target.median():.3f}" if ordered else "",
                "reached": f"{np.isfinite(target).mean():.0%}",
                "best, mean": f"{known['best'].mean():.4f}",
                "against none": _interval(
                    (known["best"] - base["best"]).to_numpy(), np.mean, "+.4f"
                ),
                "rank, median": f"{known['rank'].median():.0f}",
                "good lost": f"{known['good_lost'].mean():.1f}",
                "by the probe": f"{known['good_condemned'].mean():.1f}",
                "late lost": f"{known['late_lost'].sum()} of {known['late'].sum()}",
            }
        )
    return pd.DataFrame(rows)


def _certified(table: pd.DataFrame) -> str:
    fitted = table[table["calibrated"]]
    text = (
        f"`CertifiedRule(max_false_prune_rate=0.1)` for what comes within 0.1 of the best, "
        f"calibrated on two thirds of `wild_mnist` and replayed on the rest: {len(fitted)} of "
        f"{len(table)} seeds had enough good trials to calibrate it."
    )
    if fitted.empty:
        return f"{text} ({table['why'].iloc[0]})"
    trials = int(fitted["trials"].iloc[0])
    return (
        f"{text} Of {trials} trials it pruned {fitted['pruned'].median():.0f} "
        f"(median) and ran {fitted['audited'].median():.0f} as audit; good trials lost "
        f"{int(fitted['lost'].sum())} of {int(fitted['good'].sum())}; total cost "
        f"{_interval(fitted['total_flops'].to_numpy(float), np.median)} of that without, best "
        f"{_interval(fitted['best'].to_numpy(float), np.mean, '+.4f')}."
    )


def _interval(
    values: Array, statistic: Callable[..., npt.NDArray[np.float64]], style: str = ".3f"
) -> str:
    center = float(statistic(values))
    if np.ptp(values) == 0:
        return f"{center:{style}}"
    found = bootstrap(
        (values,), statistic, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return f"{center:{style}} [{found.low:{style}}, {found.high:{style}}]"
