from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recent_prune.probe.restoring import memory


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    host = memory.free_memory(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.free_memory(torch.device("cpu")) > 1e6
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free_memory(torch.device("cpu")) == 4000 < host
