"""What probes and the gate cost: from ``benchmarks/probe_cost`` and ``benchmarks/ray_gate``."""

from __future__ import annotations

import pandas as pd

from docs.figures.results import ROOT, Source, kept, line, markdown, table

CPU = "benchmarks/probe_cost/results_cpu.md"
PROBED = Source("python -m benchmarks.probe_cost.measure", line(CPU, "x86_64"), "2026-11-29")
NETWORKS = {
    "MLP 20 × 784, tanh": "tanh MLP, 20 × 784",
    "MLP 50 × 784, tanh": "tanh MLP, 50 × 784",
    "MLP 50 × 64, tanh": "tanh MLP, 50 × 64",
    "CNN 50 × 128 channels": "CNN, 50 layers × 128 channels",
    "ResNet-18, 32 × 32": "ResNet-18, 32 × 32",
}
WIDE = [name for name in NETWORKS if "50 × 64" not in name]
COLUMNS = {
    "probe": "probe",
    "of an epoch": "of an epoch",
    "forward passes": "forward passes",
    "of an epoch ": "with first steps, SGD",
    "Adam": "Adam",
    "no help": "steps that do not help",
    "one-epoch cascade / probe": "one-epoch cascade / probe",
}
GATE = "benchmarks/ray_gate/results.md"
GATED = Source(
    "python -m benchmarks.ray_gate.measure",
    line(GATE, "Python"),
    "2026-11-22",
)
HELD = {"wall_s": "wall clock, s", "worker_starts": "worker starts", "gpu_s": "GPU-seconds held"}


def _probed() -> pd.DataFrame:
    found = table(CPU, "network", "forward passes")
    # The second column of that name is the share that first steps take.
    found.columns = pd.Index(
        ["of an epoch " if i == 4 else str(c).strip() for i, c in enumerate(found.columns)]
    )
    return found


def probe_cost() -> str:
    """Of a probe, by network, in seconds, forward passes and shares of an epoch."""
    found = _probed()
    return markdown(
        [
            {"network": name} | {head: str(found.loc[key, c]) for c, head in COLUMNS.items()}
            for key, name in NETWORKS.items()
        ],
        PROBED,
    )


def first_steps_cost(column: str, networks: str = "wide") -> str:
    """The range of a column of shares of an epoch, over the wide networks or the narrow one."""
    chosen = WIDE if networks == "wide" else [n for n in NETWORKS if n not in WIDE]
    cells = _probed()[{"SGD": "of an epoch "}.get(column, column)]
    shares = [float(str(cells[name]).rstrip("%")) for name in chosen]
    low, high = f"{min(shares):.1f}", f"{max(shares):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def passes_of_large_models() -> str:
    """Forward passes that a probe takes of models as large as people train, its range."""
    found = table("benchmarks/probe_cost/large_models_cpu.md", "model")
    cells = [float(str(cell)) for cell in found["in forward passes"]]
    return f"{min(cells):.1f} to {max(cells):.1f}"


def memory_of_first_steps() -> str:
    """Peak of the first steps over that of a training step, its range."""
    found = table(CPU, "network", "first steps, Adam")
    heads = [f"(model + first steps) / (model + training step), {o}" for o in ("SGD", "Adam")]
    cells = [float(str(cell)) for head in heads for cell in found[head]]
    return f"{min(cells):.1f} to {max(cells):.1f}"


def memory_of_a_probe() -> str:
    """Peak of a probe beyond that of the forward pass, its range over the networks."""
    found = table(CPU, "network", "forward pass", "probe", "model")
    whole, forward = (
        found[name].map(lambda cell: int(str(cell).split(" ")[0]))
        for name in ("probe", "forward pass")
    )
    return f"{min(whole - forward)} to {max(whole - forward)} MB"


def many_at_once() -> str:
    """Models a minute."""
    found = table(CPU, "models", "a minute").reset_index()
    return markdown([dict(row) for row in found.to_dict("records")], PROBED)  # type: ignore[arg-type]


def on_a_gpu(depth: str) -> str:
    """Milliseconds of a probe of 128 wide layers on the GPU, whose run was cut off."""
    curve = pd.read_csv(ROOT / "benchmarks/probe_cost/curves_cuda.csv")
    known = curve[curve["curve"].str.startswith("depth") & curve["x"].eq(int(depth))]
    return f"{1000 * known['seconds'].iloc[0]:.0f} ms"


def _gate() -> pd.DataFrame:
    return table(GATE, "doomed", "wall_s").reset_index()


def ray_gate() -> str:
    """What the gate of the Ray scheduler saves and costs, real and simulated trials."""
    rows = []
    for row in _gate().to_dict("records"):
        cells = {str(k): str(v).replace("-", "−") for k, v in row.items()}
        rows.append(
            {"trials": cells[""], "doomed": cells["doomed"]}
            | {head: cells[key] for key, head in HELD.items()}
        )
    return markdown(rows, GATED)


def gate(doomed: str, quantity: str = "wall_s", part: str = "") -> str:
    """A figure of the real trials.

    Args:
        doomed: Of the trials, such as ``60%``.
        quantity: A column of the benchmark.
        part: ``without`` or ``with`` the gate; by default the change.
    """
    found = _gate()
    row = found[found[""].str.startswith("real") & found["doomed"].eq(doomed)].iloc[0]
    cell = str(row[quantity]).replace("-", "−")
    values, change = cell.rstrip(")").split(" (")
    before, after = values.split(" → ")
    if part:
        return {"without": before, "with": after}[part]
    share = float(change.replace("−", "-").rstrip("%"))
    return (f"{share:+.1f} %" if abs(share) < 10 else f"{share:+.0f} %").replace("-", "−")


def demo() -> str:
    """What the demo prints: its study with the pruner, and without it."""
    source = kept("benchmarks.demo.measure", "benchmarks/demo/environment.json")
    found = table("benchmarks/demo/results.md", "without")
    return markdown(
        [
            {"": str(name)} | {str(c): str(row[c]) for c in found.columns}
            for name, row in found.iterrows()
        ],
        source,
    )
