"""Train an autoencoder with Lightning.

python examples/lightning_trainer.py --learning-rate 1e-3
python examples/lightning_trainer.py --learning-rate 100   # is not trained
"""

import argparse

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from recent_prune.data import load_digits
from recent_prune.lightning import ReconstructionEntropyCallback


class Autoencoder(pl.LightningModule):
    """Squeezes digits through 16 numbers; its batches are mappings."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 48), nn.GELU(), nn.Linear(48, 64))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.decoder(self.encoder(batch["image"]))

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        loss = F.mse_loss(self(batch), batch["image"].flatten(1))
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.learning_rate)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    pl.seed_everything(0)
    rows = [{"image": image} for image in load_digits().train]
    loader = DataLoader(rows, 64, shuffle=True)
    callback = ReconstructionEntropyCallback()  # added
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=given.epochs, accelerator="cpu", callbacks=[callback], **quiet)
    trainer.fit(Autoencoder(given.learning_rate), loader)
    print(f"{trainer.global_step} steps, {dict(trainer.callback_metrics)}")


if __name__ == "__main__":
    main()
