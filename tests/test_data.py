from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from recent_prune.data import (
    load_digits,
    load_fashion_mnist,
    load_image_folder,
    load_mnist,
    white_noise,
)


def test_digits_are_images_in_the_unit_interval() -> None:
    digits = load_digits()
    assert digits.train.shape == (1438, 1, 8, 8)
    assert digits.test.shape == (359, 1, 8, 8)
    assert digits.train.min() == 0
    assert digits.train.max() == 1
    assert digits.train_labels.unique().tolist() == list(range(10))
    assert digits.test_labels.dtype == torch.int64


def test_head_takes_the_first_samples() -> None:
    digits = load_digits()
    few = digits.head(5, 3)
    assert torch.equal(few.train, digits.train[:5])
    assert torch.equal(few.train_labels, digits.train_labels[:5])
    assert len(few.test) == len(few.test_labels) == 3


def test_mnist_is_read_from_torchvisions_layout(mnist: torch.Tensor) -> None:
    assert mnist.shape == (60000, 1, 28, 28)
    assert mnist.dtype == torch.float32
    assert mnist.max() == 1


def test_missing_mnist_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [])
    with pytest.raises(RuntimeError, match=f"MNIST is not in {tmp_path} .*could not be downloaded"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("module", "load", "package"),
    [
        ("sklearn.datasets", load_digits, "scikit-learn"),
        ("torchvision.datasets", load_mnist, "torchvision"),
    ],
)
def test_missing_libraries_are_named(
    module: str, load: object, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        load()  # type: ignore[operator]


def test_missing_fashion_mnist_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [])
    with pytest.raises(RuntimeError, match=f"FashionMNIST is not in {tmp_path} "):
        load_fashion_mnist(tmp_path)


def pets(tmp_path: Path) -> Path:
    """A folder of images."""
    for part, level in (("train", 255), ("test", 0)):
        for label in ("cat", "dog"):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (5, 4), (level, level, level)).save(folder / f"{number}.png")
    return tmp_path / "pets"


@pytest.mark.parametrize(("grey", "channels"), [(True, 1), (False, 3)])
def test_image_folder(grey: bool, channels: int, tmp_path: Path) -> None:
    images = load_image_folder(pets(tmp_path), grey=grey)
    assert images.name == "pets"
    assert images.train.shape == images.test.shape == (4, channels, 4, 5)
    assert images.train.min() == 1
    assert images.test.max() == 0
    assert sorted(images.train_labels.tolist()) == [0, 0, 1, 1]


def test_paths_may_be_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = load_image_folder(pets(tmp_path))
    for path in (str(tmp_path / "pets"), "~/pets"):
        assert torch.equal(load_image_folder(path).train, expected.train)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [])
    with pytest.raises(RuntimeError, match=f"MNIST is not in {tmp_path}/nowhere "):
        load_mnist("~/nowhere")


def test_image_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"No images in {tmp_path / 'train'}"):
        load_image_folder(tmp_path)


def test_white_noise_is_the_same_each_time() -> None:
    noise = white_noise((1, 4, 4), 30, 10)
    assert noise.train.shape == (30, 1, 4, 4)
    assert noise.test.shape == (10, 1, 4, 4)
    assert torch.equal(noise.train, white_noise((1, 4, 4), 30, 10).train)
    assert 0 <= noise.train.min() < noise.train.max() <= 1
