from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recent_prune import networks, probe
from recent_prune.data import load_digits
from recent_prune.probe.result import Reconstructions
from recent_prune.report import plot_reconstructions
from recent_prune.report.images import SHOWN, as_images
from tests.rules.results import result

X = load_digits().train


def test_a_row_a_sample_and_a_column_a_layer() -> None:
    model = networks.mlp(64, 10, depth=12, width=64)
    found = probe(model, X, reconstruct=X[:3])
    figure = plot_reconstructions(found)
    assert len(figure.data) == 3 * (SHOWN + 1)
    titles = [note.text for note in figure.layout.annotations]
    assert titles[0] == "input"
    assert titles[-1] == f"tanh12<br>{found.retained[-1]:.2f}"
    assert figure.data[0].z.shape == (8, 8)
    assert {trace.zmax for trace in figure.data} == {float(X[:3].max())}


def test_colour_images() -> None:
    shown = torch.rand(2, 3, 4, 4)
    found = replace(result([0.5]), reconstructions=Reconstructions(shown, shown[None]))
    figure = plot_reconstructions(found)
    assert [trace.type for trace in figure.data] == ["image"] * 4


def test_features_that_are_a_square() -> None:
    assert as_images(torch.rand(2, 64)).shape == (2, 8, 8, 1)
    assert as_images(torch.rand(2, 48)).shape == (2, 4, 4, 3)
    assert as_images(torch.rand(2, 5, 7)).shape == (2, 5, 7, 1)


@pytest.mark.parametrize("shape", [(2, 7), (2, 4, 5, 5), (2, 1, 1, 1, 1)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images, but got samples of \(2, "):
        as_images(torch.rand(*shape))


def test_without_reconstructions() -> None:
    with pytest.raises(ValueError, match="`result` has no reconstructions"):
        plot_reconstructions(result([0.5]))
