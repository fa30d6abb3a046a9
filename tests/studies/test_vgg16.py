from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torchvision.models import vgg16

import recent_prune as rp
from studies.vgg16 import figures, study
from studies.vgg16.network import IMAGENET, LAYERS, Channels, Weights, network, place
from studies.vgg16.pictures import Pictures, pictures
from tests.browser import looked_at, needs_chromium


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    return network(Weights.RANDOM)


@pytest.fixture(scope="module")
def torchvisions() -> nn.Module:
    """The network that ours is made of, of the same seed."""
    torch.manual_seed(0)
    own: nn.Module = vgg16().eval()
    return own


@pytest.fixture(scope="module")
def images() -> Pictures:
    return pictures("digits", None, size=32, fitted=100, shown=3)


def test_it_is_torchvisions_network_of_normalised_pixels(
    model: nn.Sequential, torchvisions: nn.Module, images: Pictures
) -> None:
    pixels = images.shown
    wanted = IMAGENET.transforms()
    mean, std = (torch.tensor(v)[:, None, None] for v in (wanted.mean, wanted.std))
    with torch.no_grad():
        assert torch.equal(model.eval()(pixels), torchvisions((pixels - mean) / std))


def test_layers_by_their_names(model: nn.Sequential) -> None:
    weighted = [i for i, m in enumerate(model) if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == len(LAYERS) == 16
    for layer, own in zip(LAYERS, weighted, strict=True):
        assert place(model, layer) == (own if layer == "fc8" else own + 1)
    assert [layer[4] for layer in LAYERS[:13]] == [*"1122333444555"]


def test_the_same_numbers_as_from_a_network_that_ends_in_one_channel(
    model: nn.Sequential, images: Pictures
) -> None:
    class One(nn.Module):
        def __init__(self, channel: int) -> None:
            super().__init__()
            self.before, self.channel = model[: place(model, "conv2_1") + 1], channel
            self.last = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            last: Tensor = self.last(self.before(x)[:, self.channel])
            return last

    channels = Channels(model, "conv2_1")
    assert len(channels.names) == 128
    together, seen = study.probed(channels, channels.names, images)
    for channel in (0, 77):
        alone, one = study.probed(One(channel), ["last"], images)
        assert alone.retained[0] == pytest.approx(together.retained[channel], abs=1e-5)
        torch.testing.assert_close(one[0], seen[channel], atol=1e-3, rtol=0)


def test_pretrained_weights(torchvisions: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    state = torchvisions.state_dict()
    monkeypatch.setattr(type(IMAGENET), "get_state_dict", lambda *_, **__: state)
    trained = network(Weights.IMAGENET)
    last = trained[-1]
    assert isinstance(last, nn.Linear)
    assert torch.equal(last.weight, state["classifier.6.weight"])


def test_weights_that_cannot_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(SystemExit, match="no route to host") as raised:
        study.run(quick=True, weights=Weights.IMAGENET, out=tmp_path)
    message = str(raised.value)
    assert "could not be downloaded (<urlopen error no route to host>)" in message
    assert "use --weights random" in message
    assert "\n" not in message


class TestPictures:
    def folder(self, root: Path, count: int) -> Path:
        """Images of several sizes, each of one colour of its own."""
        for i in range(count):
            path = root / f"class{i % 2}" / "nested" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20 + i, 30), (10 * i, 0, 255)).save(path)
        (root / "class0" / "notes.txt").write_text("no image")
        return root

    def test_any_folder(self, tmp_path: Path) -> None:
        found = pictures(str(self.folder(tmp_path / "mine", 20)), None, 8, fitted=100, shown=3)
        assert found.name == "mine"
        assert found.fitted.shape == (17, 3, 8, 8)
        assert found.shown.shape == (3, 3, 8, 8)
        reds = torch.cat([found.shown, found.fitted])[:, 0, 0, 0] * 255
        assert sorted(reds.round().int().tolist()) == [10 * i for i in range(20)]
        assert bool((found.fitted[:, 2] == 1).all())

    def test_cifar10_is_a_folder_in_the_root(self, tmp_path: Path) -> None:
        self.folder(tmp_path / "cifar10" / "train", 20)
        assert len(pictures("cifar10", tmp_path, 8, fitted=16, shown=2).fitted) == 16

    def test_grey_images_are_enlarged(self, images: Pictures) -> None:
        assert images.fitted.shape == (100, 3, 32, 32)
        assert torch.equal(images.fitted[:, 0], images.fitted[:, 2])
        assert bool((images.fitted >= 0).all())

    def test_too_few(self, tmp_path: Path) -> None:
        self.folder(tmp_path, 4)
        with pytest.raises(SystemExit, match="has 4 images, but at least 20 are needed"):
            study.run(quick=True, data=str(tmp_path), out=tmp_path)

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match=r"no folder .*cifar10: --data takes a folder"):
            study.run(scale="small", data_root=tmp_path, out=tmp_path)


def test_channels_are_ranked_and_counted() -> None:
    alone = pd.DataFrame({"channel": range(5), "retained": [0.2, 0.001, 0.9, 0.4, 0.5]})
    assert study.ranked(alone["retained"]) == [2, 3, 1]
    whole = pd.DataFrame({"channel": [study.WHOLE], "retained": [0.95]})
    table = pd.concat([whole, alone]).assign(
        layer="conv1_2", relative_entropy=0.1, activation_rms=0.3
    )
    row = study.summary(table).iloc[0]
    assert row["retained"] == "0.950"
    assert row["channels"] == "5"
    assert [row[name] for name in figures.RANKS] == ["0.900", "0.400", "0.001"]
    assert row["lost"] == "1"


def test_pictures_are_where_their_captions_are() -> None:
    table = pd.DataFrame({"layer": ["input", "conv1_1"], "retained": 1.0, "relative_entropy": 0.0})
    seen = torch.zeros(2, 3, 3, 4, 4)
    seen[1, 2, 0] = 1  # the third image from the second column is red
    image = figures.by_layer("title", table, seen).data[0]
    source = base64.b64decode(image.source.partition(",")[2])
    pixels = np.asarray(Image.open(BytesIO(source)).convert("RGB"))
    # Of the middle of (column 1, row 2), in the figure's units.
    x, y = round((1 - image.x0) / image.dx), round((2 - image.y0) / image.dy)
    assert pixels[y, x].tolist() == [255, 0, 0]
    assert (pixels == [255, 0, 0]).all(axis=2).sum() == 16


@needs_chromium
@pytest.mark.slow
def test_study(
    model: nn.Sequential,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Of the five layers whose channels are looked at one by one the two that have the fewest.
    monkeypatch.setattr(study, "network", lambda _: model)
    quick = replace(study.SCALES["quick"], channels_of=("conv1_2", "conv2_2"))
    monkeypatch.setattr(study, "SCALES", {"quick": quick})
    study.run(quick=True, device="cpu", out=tmp_path)
    text = (tmp_path / "quick_digits_random.md").read_text()
    assert "digits, 160 images 32 × 32 fitted on, 4 others shown" in text
    assert text.strip() in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "quick_digits_random.csv")
    assert len(table) == 1 + 16 + 64 + 128
    whole = table[table["channel"] == "all"].set_index("layer")["retained"]
    assert 0.99 >= whole["conv5_3"] > whole["fc8"] > 0.5
    for name in ("layers", "channels"):
        assert (tmp_path / f"quick_digits_random_{name}.png").stat().st_size > 10_000
        looked_at(tmp_path / f"quick_digits_random_{name}.html")

    # What was measured is not measured again.
    monkeypatch.setattr(rp, "probe", None)
    study.run(quick=True, device="cpu", out=tmp_path)
    assert (tmp_path / "quick_digits_random.md").read_text() == text


def test_a_scale_that_is_unknown() -> None:
    with pytest.raises(typer.BadParameter, match="'huge' is not one of quick"):
        study.run(scale="huge")
