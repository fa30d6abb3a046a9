from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recent_prune.probe.restoring import memory
from recent_prune.probe.restoring.memory import is_out_of_memory


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    host = memory.free_memory(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.free_memory(torch.device("cpu")) > 1e6
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free_memory(torch.device("cpu")) == 4000 < host


def caused(cause: Exception) -> Exception:
    try:
        raise ValueError("the epoch failed") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        caused(MemoryError()),
    ],
)
def test_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_the_cpus_own_error_is_known() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("CUDA out of memory"),
        RuntimeError("CUDA error: device-side assert triggered"),
        caused(KeyError("x")),
    ],
)
def test_other_errors(error: Exception) -> None:
    assert not is_out_of_memory(error)


PAGE_FAULTS = """
import platform, resource, torch
from recent_prune.probe.restoring.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [torch.zeros(2**20) for _ in range(12)]  # as a network's activations are, all at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does")
def test_freed_memory_is_kept() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True
    )
    # 120,000 before, unless something large was freed as PyTorch was imported.
    assert int(run.stdout) < 1_000
