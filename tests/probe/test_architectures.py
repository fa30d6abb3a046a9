"""What people sweep over is probed without configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recent_prune.probe import ProbeResult, probe
from recent_prune.probe.quantities.gram import MAX_FEATURES
from recent_prune.probe.watching.observation import observe
from recent_prune.rules import TrainabilityRule


class Recurrent(nn.Module):
    """Rows of an image as a sequence, the last state to the head."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.body = kind(8, 32, 2, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.flatten(1, 2))[0][:, -1])  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A transformer over the rows of an image, or over tokens."""

    def __init__(self, norm_first: bool = False, tokens: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
        self.first = nn.Embedding(1000, 32) if tokens else nn.Linear(8, 32)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x if x.dim() == 2 else x.flatten(1, 2))
        return self.head(self.body(x).mean(1))  # type: ignore[no-any-return]


class TokenRecurrent(nn.Module):
    """Weights shared over time, for sequences of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(1000, 32), nn.GRUCell(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 32)
        for step in self.embedding(x).unbind(1):
            state = self.cell(step, state)
        return self.head(state)  # type: ignore[no-any-return]


def check(result: ProbeResult, depth: int, head: str) -> None:
    assert result.depth == depth
    assert result.layers[-1] == head
    assert result.nonfinite_layer is None
    assert all(0 <= share <= 1 for share in result.retained)
    assert result.retained[0] > 0.2
    assert TrainabilityRule()(result).trainable


@pytest.mark.parametrize(
    ("name", "depth", "head"),
    [
        ("vgg16", 15, "classifier.5"),
        ("resnet18", 17, "input of fc"),
        ("resnet50", 49, "input of fc"),
        ("densenet121", 120, "input of classifier"),
        ("mobilenet_v2", 52, "classifier.0"),
        ("convnext_tiny", 58, "classifier.1"),
        ("vit_b_16", 38, "input of heads.head"),
        ("swin_t", 64, "flatten"),
    ],
)
def test_torchvisions_networks(digits: Tensor, name: str, depth: int, head: str) -> None:
    models = pytest.importorskip("torchvision").models
    size = {"image_size": 32} if name == "vit_b_16" else {}
    model = getattr(models, name)(num_classes=10, **size)
    images = nn.functional.interpolate(digits[:40], size=(32, 32)).expand(-1, 3, -1, -1)
    check(probe(model, images), depth, head)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks(digits: Tensor, kind: Callable[..., nn.Module]) -> None:
    """Of a stack the output of each layer is seen."""
    result = probe(Recurrent(kind), digits)
    check(result, 2, "input of head")
    assert result.layers[0] == "body.layer1"


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformers(digits: Tensor, norm_first: bool) -> None:
    check(probe(Encoder(norm_first), digits), 10, "input of head")


@pytest.mark.parametrize("length", [6, 128])
def test_transformers_of_tokens_of_any_length(length: int) -> None:
    """What is to be reconstructed is the sum over positions: that does not depend on the length."""
    result = probe(Encoder(tokens=True), torch.randint(0, 1000, (200, length)))
    check(result, 9, "input of head")
    assert result.inputs_recoverable


def test_weights_shared_over_time() -> None:
    result = probe(TokenRecurrent(), torch.randint(0, 1000, (200, 5)))
    # Five steps of the sequence arrive at the cell, and its last state at the head.
    steps = ("input of cell", *(f"input of cell#{k}" for k in range(2, 6)))
    assert result.layers == (*steps, "cell")
    assert result.retained[-1] > 0.05


def test_a_cnn_of_400_layers() -> None:
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, 2, 1), nn.Tanh()]
    for _ in range(399):
        conv = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
        nn.init.normal_(conv.weight, std=(1 / 72) ** 0.5)
        layers += [conv, nn.Tanh()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 10))
    images = torch.rand(40, 16) @ torch.rand(16, 64) / 16
    result = probe(model, images.reshape(40, 1, 8, 8))
    assert result.layers == (*(str(1 + 2 * i) for i in range(399)), "800")
    assert result.retained[0] > 0.5 > result.retained[-1]
    assert result.nonfinite_layer is None


def test_names_in_a_result_can_be_asked_for(digits: Tensor) -> None:
    model = Encoder()
    result = probe(model, digits)
    some = list(result.layers[::3])
    assert any(name.startswith("input of ") for name in some)
    chosen = probe(model, digits, layers=some)
    assert chosen.layers == tuple(some)
    assert chosen.retained == pytest.approx(result.retained[::3], abs=1e-5)


def test_of_large_maps_only_a_bounded_part_is_kept() -> None:
    convolutions = [nn.Conv2d(1, 16, 3), nn.Tanh(), nn.Conv2d(16, 16, 3), nn.Flatten()]
    model = nn.Sequential(*convolutions, nn.Linear(16 * 60 * 60, 10))
    with torch.no_grad():
        seen = observe(model, torch.rand(40, 1, 64, 64), 0, None)
    assert seen.largest == 40 * 16 * 62 * 62 * 4
    kept = [tensor.numel() for gram in seen.grams for tensor in gram]
    assert max(kept) <= max(40 * MAX_FEATURES, 64 * 64)


MEMORY = """
import sys
from pathlib import Path
import torch
from torch import nn
import recent_prune as rp

def kilobytes(entry):
    return int(Path("/proc/self/status").read_text().split(entry + ":")[1].split()[0])

layers = [nn.Conv2d(1, 16, 3, padding=1), nn.Tanh()]
for _ in range(5):
    layers += [nn.Conv2d(16, 16, 3, padding=1), nn.Tanh()]
model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 64 * 64, 10))
batch = (torch.rand(160, 16) @ torch.rand(16, 4096) / 16).reshape(160, 1, 64, 64)
rp.probe(rp.networks.mlp(64, 10, depth=2, width=64), torch.rand(160, 64))  # libraries' own memory
peaks = []
for run in (torch.no_grad()(lambda: model(batch)), lambda: rp.probe(model, batch)):
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    run()
    peaks.append((kilobytes("VmHWM") - before) / 1024)
print(*peaks)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="resets the process's high-water mark"
)
def test_memory_is_hardly_more_than_that_of_the_forward_pass() -> None:
    """A map of this network takes 42 MB; the forward pass holds two or three at a time."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    forward, probed = map(float, run.stdout.split())
    assert forward > 80
    assert probed < forward + 60
