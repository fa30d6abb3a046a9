"""How results are shown in a notebook: small tables, with every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recent_prune.preflight import PreflightResult
    from recent_prune.probe import ProbeResult
    from recent_prune.rules import Verdict

ROWS = 12
"""Layers shown at most."""


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; nothing in it is read as HTML.

    Args:
        title: Above it.
        columns: Its head; none is shown if all are empty.
        rows: As many cells as there are columns.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns) if any(columns) else ""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    caption = f'<caption style="text-align:left"><b>{escape(title)}</b></caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def result_html(result: ProbeResult) -> str:
    """Of a probe: a choice of its layers, and what its first steps did to the loss."""
    title = f"{result.depth} layers, {result.samples} samples, {result.seconds:.3g} s"
    steps = result.steps
    if steps is not None:
        title += f"; {steps.made} steps: loss {steps.loss_before:.4g} → {steps.loss_after:.4g}"
    rows = [
        (i + 1, result.layers[i], f"{result.retained[i]:.1%}", f"{result.relative_entropy[i]:.4g}")
        for i in result.spread(ROWS)
    ]
    return html_table(title, ("", "layer", "retained", "entropy (nats)"), rows)


def verdict_html(verdict: Verdict) -> str:
    """Of a verdict: the answer, and why."""
    known = {
        "reason": verdict.reason,
        "cause": verdict.cause,
        "advice": verdict.advice,
        "violation": f"{verdict.violation:.3g}",
    }
    rows = [(name, value) for name, value in known.items() if value is not None]
    return html_table("Can train" if verdict.trainable else "Will not train", ("", ""), rows)


def preflight_html(result: PreflightResult) -> str:
    """Of a preflight: memory, its parts, and seconds so far as they are known."""
    memory, steps, whole = result.memory, result.step_seconds, result.training_seconds
    rows = [("memory", f"{_mebibytes(memory.low)} to {_mebibytes(memory.high)}")]
    rows += [(f"of which {name}", _mebibytes(count)) for name, count in result.parts.items()]
    rows += [("a step", f"{steps.value:.3g} s")] if steps is not None else []
    rows += [("the full training", f"{whole.value:.3g} s")] if whole is not None else []
    rows += [("note", note) for note in result.notes]
    return html_table(f"A training step at batch {result.batch_size}", ("", ""), rows)


def audit_html(audit: Any) -> str:
    """Of an audit: its summary, as ``audit.summary`` has it."""
    table = audit.summary
    return html_table("Audit", list(table.columns), table.itertuples(index=False))


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:,.4g} MiB"
