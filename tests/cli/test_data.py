from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recent_prune.cli.data import inputs
from recent_prune.data import load_digits
from tests.cli import factories

MODULE = "tests.cli.factories"


def test_inputs_from_data_sets_files_and_functions(tmp_path: Path) -> None:
    array = np.arange(32.0).reshape(16, 2)
    np.save(tmp_path / "x.npy", array)
    torch.save(torch.from_numpy(array), tmp_path / "x.pt")
    for given in (tmp_path / "x.npy", tmp_path / "x.pt"):
        assert torch.equal(torch.as_tensor(inputs(str(given), None)), torch.from_numpy(array))
    assert torch.equal(torch.as_tensor(inputs("digits", None)), load_digits().train)
    assert torch.equal(torch.as_tensor(inputs(f"{MODULE}:samples", None)), factories.samples())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "--data must be digits, mnist, .* but got nowhere"),
        ("nowhere.npy", "--data: there is no file nowhere.npy"),
        (f"{MODULE}:nothing", "--data: tests.cli.factories has no nothing"),
    ],
)
def test_wrong_inputs(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inputs(text, None)


@pytest.mark.parametrize(
    ("name", "kind"), [("empty.npy", "arrays of NumPy"), ("other.pt", "weights and tensors of P")]
)
def test_what_cannot_be_read_is_named(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"xx" if name == "other.pt" else b"")
    with pytest.raises(ValueError, match=rf"--data: .*{name} must hold {kind}.* cannot be read"):
        inputs(str(tmp_path / name), None)


@pytest.mark.parametrize(
    ("held", "told"),
    [({"x": 1}, "but holds int"), ((torch.ones(3, 2), torch.ones(4)), "but holds .*3, 2.*4")],
)
def test_a_file_without_tensors(held: Any, told: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=f"must hold a tensor, or inputs and labels .*{told}"):
        inputs(str(tmp_path / "x.pt"), None)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--data-root: there is no folder"):
        inputs("mnist", tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


def test_labels_of_data_sets() -> None:
    x, y = inputs("digits", None, labels=True)
    digits = load_digits()
    assert torch.equal(torch.as_tensor(x), digits.train)
    assert torch.equal(torch.as_tensor(y), digits.train_labels)
    # A loader has its own.
    found = inputs(f"{MODULE}:labelled", None, labels=True)
    assert isinstance(found, torch.utils.data.DataLoader)


@pytest.mark.parametrize("kind", ["tuple", "mapping", "npz", "named npz"])
def test_labels_of_files(kind: str, tmp_path: Path) -> None:
    x, y = np.arange(32.0).reshape(16, 2), np.arange(16, dtype=np.int32) % 3
    path = tmp_path / ("x.npz" if "npz" in kind else "x.pt")
    if kind == "npz":
        np.savez(path, x, y)
    elif kind == "named npz":
        np.savez(path, labels=y, images=x)
    else:
        tensors = (torch.from_numpy(x), torch.from_numpy(y))
        torch.save(tensors if kind == "tuple" else dict(zip("xy", tensors, strict=True)), path)
    pair = inputs(str(path), None, labels=True)
    assert isinstance(pair, tuple)
    assert torch.equal(pair[0], torch.from_numpy(x).float())
    assert torch.equal(pair[1], torch.from_numpy(y).long())
    assert torch.equal(torch.as_tensor(inputs(str(path), None)), pair[0])
