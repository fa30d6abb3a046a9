"""Cost of a probe against training, against the bare forward pass, and against the cascade.

    python -m benchmarks.probe_cost.measure

Protocol: in each of ``--repeats`` rounds every quantity is timed once, in turn, so that a drift of
the machine meets all of them; the ratios are taken round by round, and medians are reported. One
round is warm-up and not counted. On a GPU each timing ends with a synchronization. An epoch is
60,000 samples in batches of 64, SGD: one step is timed (the mean of three) and taken 938 times. The
cascade is the paper's, one epoch: one update is timed and taken 938 times. The forward pass is that
of the probe's 384 samples, without gradients. Writes ``results_DEVICE.md`` with the environment.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.progress import track
from torch import Tensor, nn

import recent_prune as rp

FOLDER = Path(__file__).parent
STEPS = 60_000 // 64 + 1


def cnn(depth: int, channels: int = 128) -> nn.Sequential:
    """The paper's CNN: a strided stem, then 3 × 3 convolutions with tanh, σ_w² = 1."""
    layers: list[nn.Module] = []
    strides = [1, 2, 2] + [1] * (depth - 3)
    for i, stride in enumerate(strides):
        fan_in = 1 if i == 0 else channels
        conv = nn.Conv2d(fan_in, channels, 3, stride, 1, padding_mode="circular")
        nn.init.normal_(conv.weight, std=(1 / (9 * fan_in)) ** 0.5)
        layers += [conv, nn.Tanh()]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10))


def resnet() -> nn.Module:
    """Torchvision's ResNet-18, which needs the extra ``demo``."""
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    assert isinstance(model, nn.Module)
    return model


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 20 × 784, tanh": (lambda: rp.networks.mlp(784, 10, depth=20, width=784), (784,)),
    "MLP 50 × 784, tanh": (lambda: rp.networks.mlp(784, 10, depth=50, width=784), (784,)),
    "MLP 50 × 64, tanh": (lambda: rp.networks.mlp(784, 10, depth=50, width=64), (784,)),
    "CNN 50 × 128 channels": (lambda: cnn(50), (1, 28, 28)),
    "ResNet-18, 32 × 32": (resnet, (3, 32, 32)),
}


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall clock of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def training_step(model: nn.Module, batch: Tensor) -> Callable[[], object]:
    """One step of SGD on a batch."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()

    return step


def measure(case: str, device: torch.device, repeats: int) -> dict[str, str]:
    """One row of the table."""
    build, shape = CASES[case]
    torch.manual_seed(0)
    # Mixtures of a few patterns: noise is refused by the probe, and costs the same.
    patterns = torch.rand(16, math.prod(shape))
    inputs = (torch.rand(512, 16) @ patterns / 16).reshape(512, *shape).to(device)
    model = build().to(device)
    model(inputs[:2])  # lazy layers get their shapes
    probed = inputs[: rp.Ridge().samples]
    step = training_step(model, inputs[:64])
    chain = "ResNet" not in case

    @torch.no_grad()
    def forward() -> object:
        return model(probed)

    rounds = []
    for _ in range(repeats + 1):
        timed = {
            "forward": seconds(forward, device),
            "probe": seconds(lambda: rp.probe(model, probed), device),
            "epoch": STEPS * sum(seconds(step, device) for _ in range(3)) / 3,
        }
        if chain:
            one, three = (
                seconds(lambda n=n: rp.probe(model, inputs, estimator=rp.Cascade(n)), device)  # type: ignore[misc]
                for n in (1, 3)
            )
            timed["cascade"] = STEPS * (three - one) / 2
        rounds.append(timed)
    counted = rounds[1:]

    def ratio(part: str, whole: str) -> float:
        return median(r[part] / r[whole] for r in counted)

    return {
        "network": case,
        "probe": f"{median(r['probe'] for r in counted):.3f} s",
        "of an epoch": f"{ratio('probe', 'epoch'):.2%}",
        "forward passes": f"{ratio('probe', 'forward'):.1f}",
        "one-epoch cascade / probe": f"{ratio('cascade', 'probe'):,.0f}" if chain else "–",
    }


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Counted rounds.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda; default: cuda if there is one.")] = "",
) -> None:
    """Measure all cases and write the table."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rows = [measure(case, where, repeats) for case in track(CASES, description="measuring")]
    name = torch.cuda.get_device_name() if where.type == "cuda" else platform.machine()
    header = list(rows[0])
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *(list(row.values()) for row in rows)]
    text = "\n".join(
        [
            f"# Cost of the default probe on {where.type}",
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
            f"Medians of {repeats} rounds. {name}, {torch.get_num_threads()} threads, Python "
            f"{platform.python_version()}, torch {torch.__version__}.",
        ]
    )
    (FOLDER / f"results_{where.type}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(main)
