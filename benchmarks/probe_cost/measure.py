"""Cost of a probe against training, the bare forward pass, and the published cascade.

    python -m benchmarks.probe_cost.measure

Protocol: in each of ``--repeats`` rounds every quantity is timed once, in turn, so that a drift of
the machine meets all of them; ratios are taken round by round, and medians are reported. One
round is warm-up and not counted. On a GPU each timing ends with a synchronization.

- An epoch is 60,000 samples in batches of 64: three steps are timed, their mean taken 938 times;
  steps of SGD, and beside a probe with Adam's first steps those of Adam.
- The cascade is the paper's, one epoch in a plain loop over the layers (`plain_cascade`): four
  steps less one are timed, and taken 938 times. Beside it ours, which updates all layers as one.
- The forward pass is that of the probe's samples, without gradients.
- With first steps: six updates on batches of 64, their judging on 192 further samples, and the
  probe after them; gathering the batches from tensors is included, loading from files is not. The
  rates are usual ones and the labels can be learnt. Beside it at a rate of 1e-6, where the steps do
  not help and the critical rate is asked for.
- Peak memory is what a call adds to the memory in use; that of a training step is one of the same
  optimizer on a batch of 64, with its state. On a CPU it is the high-water mark of a fresh process
  (Linux only).

Writes ``results_DEVICE.md`` with the environment, and ``curves_DEVICE.csv``; with plotly, kaleido
and a Chrome also ``curves_DEVICE.svg``. All else runs with PyTorch alone
(one case needs torchvision).
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import recent_prune as rp
from benchmarks.environment import told
from benchmarks.probe_cost.curves import measure_curves, save_curves
from benchmarks.probe_cost.networks import CASES, Case, mlp, samples
from benchmarks.probe_cost.plain_cascade import plain_fit
from benchmarks.probe_cost.precision import precision_table
from benchmarks.probe_cost.tables import markdown, megabytes
from benchmarks.probe_cost.timing import peak_memory, ratio, rounds
from recent_prune.probe.reconstructing.chain import Chain
from recent_prune.probe.reconstructing.fitting import fit
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer

FOLDER = Path(__file__).parent
EPOCH = 60_000 // 64 + 1
"""Steps of an epoch."""
STEPS = 3
"""Steps that are timed."""

Row = dict[str, str]


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, 1e-2),
    "Adam": lambda p: torch.optim.Adam(p, 1e-4),
    "SGD, 1e-6": lambda p: torch.optim.SGD(p, 1e-6),
}


def training_steps(model: nn.Module, batch: Tensor, optimizer: str = "SGD") -> Callable[[], object]:
    """``STEPS`` steps on a batch, of a copy of the model."""
    model = copy.deepcopy(model)
    made = OPTIMIZERS[optimizer](model.parameters())

    def run() -> None:
        for _ in range(STEPS):
            _step(model, batch, made)

    return run


def one_step(model: nn.Module, batch: Tensor, optimizer: str) -> Callable[[], object]:
    """One step on a batch, the optimizer's state included."""

    def run() -> None:
        _step(model, batch, OPTIMIZERS[optimizer](model.parameters()))
        model.zero_grad()

    return run


def _step(model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer) -> None:
    labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch), labels).backward()
    optimizer.step()


def first_steps(
    model: nn.Module, shape: tuple[int, ...], device: torch.device, optimizer: str = "SGD"
) -> Callable[[], object]:
    """A probe with first steps, from tensors that hold what it needs."""
    count = 64 * rp.Training.steps + 192
    inputs = samples(count, shape, device)
    batches = (inputs, _classes(inputs))
    training = rp.Training(nn.functional.cross_entropy, OPTIMIZERS[optimizer], budget=EPOCH)
    return lambda: rp.probe(model, batches, training=training)


def _classes(inputs: Tensor) -> Tensor:
    """The largest of ten projections of each sample: labels that a network can learn."""
    rows = inputs.flatten(1).cpu()
    draw = torch.Generator().manual_seed(1)
    projected = rows @ torch.randn(rows.shape[1], 10, generator=draw)
    return (projected - projected.mean(dim=0)).argmax(dim=1).to(inputs.device)


def cascade_steps(model: nn.Module, batch: Tensor) -> dict[str, Callable[[], object]]:
    """The cascade on a batch, published style and ours: one step, and ``STEPS`` more."""
    with torch.no_grad():
        chain = Chain(model, batch)
    layers = [ReconstructionLayer(layer).to(batch.device) for layer in chain.layers[:-1]]

    def activations(steps: int) -> list[list[Tensor]]:
        with torch.no_grad():
            return [[batch, *chain.activations(batch)] for _ in range(steps)]

    def plain(steps: int) -> Callable[[], object]:
        return lambda: plain_fit(layers, activations(steps))

    def ours(steps: int) -> Callable[[], object]:
        return lambda: fit(layers, iter(activations(steps)), learning_rate=1e-3)

    return {
        "plain 1": plain(1),
        "plain more": plain(1 + STEPS),
        "ours 1": ours(1),
        "ours more": ours(1 + STEPS),
    }


def costs(case: Case, device: torch.device, repeats: int) -> tuple[Row, Row]:
    """A row of the table of times, and one of the table of memory."""
    torch.manual_seed(0)
    model = case.build().to(device)
    batch = samples(rp.Ridge().samples, case.shape, device)
    calls: dict[str, Callable[[], object]] = {
        "forward": torch.no_grad()(lambda: model(batch)),
        "probe": lambda: rp.probe(model, batch),
        "SGD": training_steps(model, batch[:64]),
        "Adam": training_steps(model, batch[:64], "Adam"),
        **{f"first {name}": first_steps(model, case.shape, device, name) for name in OPTIMIZERS},
        **cascade_steps(model, batch[:64]),
    }
    timed = rounds(calls, repeats, device)
    for r in timed:
        # The first step also builds optimizers.
        r["plain cascade"] = r["plain more"] - r["plain 1"]
        r["our cascade"] = r["ours more"] - r["ours 1"]
    steps = EPOCH / STEPS
    times = {
        "network": case.name,
        "probe": f"{median(r['probe'] for r in timed):.3f} s",
        "of an epoch": f"{ratio(timed, 'probe', 'SGD') / steps:.2%}",
        "forward passes": f"{ratio(timed, 'probe', 'forward'):.1f}",
        "with first steps": f"{median(r['first SGD'] for r in timed):.3f} s",
        "of an epoch ": f"{ratio(timed, 'first SGD', 'SGD') / steps:.2%}",
        "Adam": f"{ratio(timed, 'first Adam', 'Adam') / steps:.2%}",
        "no help": f"{ratio(timed, 'first SGD, 1e-6', 'SGD') / steps:.2%}",
        "one-epoch cascade / probe": f"{ratio(timed, 'plain cascade', 'probe') * steps:,.0f}",
        "plain cascade / ours": f"{ratio(timed, 'plain cascade', 'our cascade'):.1f}",
    }
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    forward, probe = (_peak(case, what, device) for what in ("forward", "probe"))
    begun = {name: _peak(case, f"first {name}", device) for name in ("SGD", "Adam")}
    step = {name: _peak(case, name, device) for name in begun}
    memory = {
        "network": case.name,
        "model": megabytes(parameters),
        "forward pass": megabytes(forward),
        "probe": megabytes(probe),
        "(model + probe) / (2 × model + forward pass)": (
            f"{(parameters + probe) / (2 * parameters + forward):.2f}"
        ),
        "first steps, Adam": megabytes(begun["Adam"]),
        **{
            f"(model + first steps) / (model + training step), {name}": (
                f"{(parameters + begun[name]) / (parameters + step[name]):.2f}"
            )
            for name in begun
        },
    }
    return times, memory


def peak(name: str, what: str, device: str) -> float:
    """Peak memory of a forward pass or a probe of a case, in bytes."""
    case = next(case for case in CASES if case.name == name)
    model, where = case.build().to(device), torch.device(device)
    batch = samples(rp.Ridge().samples, case.shape, where)
    # What libraries load and keep is not the network's.
    small = mlp(2, 32).to(device)
    rp.probe(small, samples(160, (784,), where))
    calls: dict[str, Callable[[], object]] = {
        "forward": torch.no_grad()(lambda: model(batch)),
        "probe": lambda: rp.probe(model, batch),
        **{f"first {name}": first_steps(model, case.shape, where, name) for name in OPTIMIZERS},
        **{name: one_step(model, batch[:64], name) for name in OPTIMIZERS},
    }
    return peak_memory(calls[what], where)


def _peak(case: Case, what: str, device: torch.device) -> float:
    if device.type == "cuda":
        return peak(case.name, what, str(device))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, case.name, what, str(device)).result()


def many(depth: int, width: int, count: int, device: torch.device, repeats: int) -> Row:
    """A row of the table of `probe_many`: initializations a minute, models on the device."""
    models = [mlp(depth, width, seed=seed).to(device) for seed in range(count)]
    batch = samples(rp.Ridge().samples, (max(width, 784),), device)
    calls: dict[str, Callable[[], object]] = {
        "together": lambda: rp.probe_many(models, batch),
        "one by one": lambda: [rp.probe(model, batch) for model in models],
    }
    timed = rounds(calls, repeats, device)
    return {
        "models": f"{count} MLPs {depth} × {width}",
        "a minute": f"{60 * count / median(r['together'] for r in timed):,.0f}",
        "one by one / together": f"{ratio(timed, 'one by one', 'together'):.1f}",
    }


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="counted rounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--count", type=int, help="large models in probe_many; default 256 or 8")
    given = parser.parse_args()
    device, repeats = torch.device(given.device), given.repeats
    large = given.count or (256 if device.type == "cuda" else 8)
    rows = []
    for case in CASES:
        print(case.name, file=sys.stderr)
        try:
            rows.append(costs(case, device, repeats))
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)
    groups = [(50, 784, large), (20, 64, 64), (10, 16, 256)]
    print("many, curves, precision", file=sys.stderr)
    together = [many(*group, device, min(repeats, 3)) for group in groups]
    curves = measure_curves(device)
    figure = save_curves(curves, FOLDER / f"curves_{device.type}")
    text = "\n\n".join(
        [
            f"# Cost of the default probe on {device.type}",
            f"Medians of {repeats} rounds. {told(device=device)}.",
            markdown([times for times, _ in rows]),
            "Peak memory, beyond the model and its inputs:",
            markdown([memory for _, memory in rows]),
            "Many initializations at once (`probe_many`):",
            markdown(together),
            f"How the cost grows: [{figure.name}]({figure.name}).",
            "Precision, retained share at the deepest layer of a tanh MLP 50 × 784:",
            markdown(precision_table(device)),
        ]
    )
    (FOLDER / f"results_{device.type}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
