"""What a trial on the cluster does; its workers import this module, so nothing heavy is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune


def train(config: dict[str, Any]) -> None:
    """Report and save four iterations; go on where a checkpoint is."""
    trial = tune.get_context().get_trial_id()
    Path(config["folder"], f"started-{trial}").touch()
    checkpoint = tune.get_checkpoint()
    first = 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            first = int(Path(folder, "iteration").read_text())
    for iteration in range(first + 1, 5):
        saved = Path(config["folder"], f"{trial}-{iteration}")
        saved.mkdir(exist_ok=True)
        (saved / "iteration").write_text(str(iteration))
        tune.report({"score": config["gain"] * iteration}, checkpoint=tune.Checkpoint(str(saved)))
