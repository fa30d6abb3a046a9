"""Cost of a probe of models as large as people train, called with their loop's own batches.

    python -m benchmarks.probe_cost.large_models

Protocol: the default probe (160 samples, no first steps) of each model at random initialization,
against a plain forward pass of the same batches without gradients, in evaluation mode, but with
the attention that training takes (PyTorch's fast path, which cannot be trained through, is off in
both). In each of ``--repeats`` rounds both are timed in turn, so that a drift of the machine meets
both; ratios are taken round by round, and medians are reported. One round is warm-up and not
counted. On a CPU one thread's processor time is taken, which others on the machine change little;
on a GPU the wall clock, with a synchronization. Batches hold 32 samples, as a loader yields them.

Peak memory is what a call adds to the memory in use, for the 160 samples as one batch and, beside
it, in batches of 32: models that one tensor goes into are probed with all samples at once. On a CPU
it is the high-water mark of a fresh process, with what libraries load and keep taken off by a small
probe before (Linux only), taken once.

Sequences and images are short, so that a forward pass is cheap and what the probe adds shows more
than it would in training. Needs torchvision and transformers; nothing is downloaded. Writes
``large_models_DEVICE.md``.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import recent_prune as rp
from benchmarks.environment import told
from benchmarks.probe_cost.networks import mlp, samples
from benchmarks.probe_cost.tables import markdown, megabytes
from benchmarks.probe_cost.timing import peak_memory, ratio, rounds

FOLDER = Path(__file__).parent
BATCH = 32
TOKENS = 16
SIDE = 64
VOCABULARY = 1000
"""Of the tokens that are drawn; the models know more."""

Row = dict[str, str]


@dataclass(frozen=True)
class Large:
    """A model, and the batches that its training loop would have."""

    name: str
    build: Callable[[], nn.Module]
    batches: Callable[[int], list[Any]]


def images(size: int) -> list[Any]:
    """(images [size, 3, SIDE, SIDE], labels)."""
    pixels = samples(rp.Ridge().samples, (3, SIDE, SIDE), torch.device("cpu"))
    return [(x, torch.zeros(len(x), dtype=torch.int64)) for x in pixels.split(size)]


def texts(size: int, **others: Tensor) -> list[Any]:
    """Tokens [size, TOKENS], half of them by one of 16 topics, padded at the end, with a mask."""
    draw = torch.Generator().manual_seed(0)
    shape = (rp.Ridge().samples, TOKENS)
    topic = torch.randint(16, (shape[0], 1), generator=draw)
    free = torch.randint(2, VOCABULARY, shape, generator=draw)
    of_topic = 2 + topic * 60 + torch.randint(60, shape, generator=draw)
    tokens = torch.where(torch.rand(shape, generator=draw) < 0.5, of_topic, free)
    lengths = torch.randint(TOKENS // 2, TOKENS + 1, (shape[0], 1), generator=draw)
    mask = (torch.arange(TOKENS) < lengths).long()
    whole = {"input_ids": tokens * mask, "attention_mask": mask, **others}
    parts = {name: tensor.split(size) for name, tensor in whole.items()}
    count = len(parts["input_ids"])
    return [{name: part[i] for name, part in parts.items()} for i in range(count)]


def translations(size: int) -> list[Any]:
    """The same with labels, which are the same texts."""
    (whole,) = texts(rp.Ridge().samples)
    return texts(size, labels=whole["input_ids"])


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig())


def _t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    start: dict[str, Any] = {"decoder_start_token_id": 0}
    return T5ForConditionalGeneration(T5Config(**start))


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(SIDE, 16, 12, 12, 768, 3072, num_classes=10)  # type: ignore[no-any-return]


def _resnet() -> nn.Module:
    from torchvision.models import resnet50

    return resnet50(num_classes=10)  # type: ignore[no-any-return]


CASES = [
    Large(f"BERT-base, {TOKENS} tokens", _bert, texts),
    Large(f"T5-small, {TOKENS} + {TOKENS} tokens", _t5, translations),
    Large(f"ViT-B/16, {SIDE} × {SIDE}", _vit, images),
    Large(f"ResNet-50, {SIDE} × {SIDE}", _resnet, images),
]


def calls(
    model: nn.Module, batches: list[Any], device: torch.device
) -> dict[str, Callable[[], object]]:
    """The forward pass and the probe of the same batches, which lie on the device."""
    there = [_moved(batch, device) for batch in batches]

    @torch.no_grad()
    def forward() -> None:
        model.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        for batch in there:
            model(**batch) if isinstance(batch, Mapping) else model(batch[0])

    return {"forward": forward, "probe": lambda: rp.probe(model, there)}


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Mapping):
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return tuple(tensor.to(device) for tensor in batch)


def peak(name: str, what: str, size: int, device: str) -> float:
    """Peak memory of a call of a case, in batches of a size, beyond what was in use; in bytes."""
    case = next(case for case in CASES if case.name == name)
    where = torch.device(device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = case.build().to(where)
    # What libraries load and keep is not the model's.
    rp.probe(mlp(2, 32).to(where), samples(160, (784,), where))
    return peak_memory(calls(model, case.batches(size), where)[what], where)


def _peak(case: Large, what: str, size: int, device: torch.device) -> float:
    if device.type == "cuda":
        return peak(case.name, what, size, str(device))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, case.name, what, size, str(device)).result()


def cost(case: Large, device: torch.device, repeats: int) -> Row:
    """A row of the table."""
    torch.manual_seed(0)
    model = case.build().to(device)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    timed = rounds(calls(model, case.batches(BATCH), device), repeats, device, clock)
    del model
    gc.collect()
    whole, parts = (
        [_peak(case, what, batch, device) for what in ("forward", "probe")]
        for batch in (rp.Ridge().samples, BATCH)
    )
    return {
        "model": case.name,
        "forward pass": f"{median(r['forward'] for r in timed):.2f} s",
        "probe": f"{median(r['probe'] for r in timed):.2f} s",
        "in forward passes": f"{ratio(timed, 'probe', 'forward'):.2f}",
        "parameters": megabytes(size),
        "forward pass adds": megabytes(whole[0]),
        "probe adds": megabytes(whole[1]),
        "ratio": f"{whole[1] / whole[0]:.2f}",
        "with the model": f"{(size + whole[1]) / (size + whole[0]):.2f}",
        f"in batches of {BATCH}: forward pass adds": megabytes(parts[0]),
        "probe adds ": megabytes(parts[1]),
        "with the model ": f"{(size + parts[1]) / (size + parts[0]):.2f}",
    }


def main() -> None:
    """Measure all of them and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="counted rounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="part of a name")
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        if given.only in case.name:
            rows.append(cost(case, device, given.repeats))
            print(rows[-1], file=sys.stderr, flush=True)
    text = "\n\n".join(
        [
            f"# Cost of the default probe of large models on {device.type}",
            f"Medians of {given.repeats} rounds. {told(device=device)}.",
            markdown(rows),
        ]
    )
    if not given.only:
        (FOLDER / f"large_models_{device.type}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
