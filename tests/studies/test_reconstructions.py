from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recent_prune import networks
from recent_prune.data import load_digits
from studies.common.images import Data
from studies.reconstructions import study
from tests.browser import looked_at, needs_chromium


def test_a_one_hot_output_is_turned_into_an_image_of_its_class() -> None:
    digits = load_digits()
    torch.manual_seed(0)
    # A network that knows the classes: its logits are its similarities with the mean images.
    model = networks.mlp(64, 10, depth=1, width=64)
    means = torch.stack([digits.train[digits.train_labels == i].mean(dim=0) for i in range(10)])
    with torch.no_grad():
        model.get_parameter("hidden1.weight").copy_(0.1 * torch.eye(64))
        model.get_parameter("hidden1.bias").zero_()
        rows = means.flatten(1)
        model.get_parameter("head.weight").copy_(50 * (rows - rows.mean(dim=0)))
        model.get_parameter("head.bias").copy_(-2.5 * (rows**2).sum(dim=1) + 5 * rows.mean())
    decoder = study.decoder(study.outputs_as_probabilities(model), digits.train, 2000)
    images = decoder.from_output(torch.eye(10)).flatten(1)
    similar = torch.corrcoef(torch.cat([images, rows]))[:10, 10:]
    assert (similar.argmax(dim=1) == torch.arange(10)).sum() >= 8


def test_each_layer_of_a_network_that_loses_nothing_gives_the_image() -> None:
    digits = load_digits()
    model = networks.mlp(64, 10, depth=2, width=64, weight_variance=1.0, bias_variance=0.0)
    with torch.no_grad():
        for i in (1, 2):
            model.get_parameter(f"hidden{i}.weight").copy_(torch.eye(64))
    seen = study.decoder(model, digits.train, 1500).from_each_layer(digits.test[:50])
    assert seen.shape == (3, 50, 1, 8, 8)
    error = (seen[:2] - digits.test[:50]).square().mean() / digits.test.var()
    assert error < 0.1


@needs_chromium
@pytest.mark.slow
def test_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = study.Scale(depth=4, updates=20, epochs=1, data=Data.DIGITS)
    monkeypatch.setattr(study, "SCALES", {"quick": scale})
    study.run(quick=True, out=tmp_path)
    assert "critical, after" in capsys.readouterr().out
    for name, columns in (("layers", 6), ("classes", 10)):
        assert (tmp_path / f"quick_digits_{name}.png").stat().st_size > 10_000
        looked_at(tmp_path / f"quick_digits_{name}.html", maps=6 * columns)
