"""A device that is not there, to see that code would run on it.

Its tensors say that they lie on ``DEVICE`` (or on a GPU) and keep their numbers on the CPU. As on a
real one, they refuse to meet tensors that lie elsewhere, and what reads their values is counted,
since on a GPU it waits. Like Apple's GPUs, ``DEVICE`` has neither float64 nor all of
``torch.linalg``. What is registered with PyTorch stays: use it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = "elsewhere:0"
CUDA = "cuda:0"

_aten = torch.ops.aten
_COPIES = (_aten._to_copy.default, _aten.copy_.default)
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten._index_put_impl_.default)
_READING = (_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.equal.default)
_MISSING = (
    _aten._linalg_eigh.default,
    _aten.linalg_cholesky_ex.default,
    _aten.linalg_solve_triangular.default,
)


class _Elsewhere(Tensor):
    """Says that it lies on a device, and holds its numbers on the CPU."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> _Elsewhere:
        made: _Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.held} on {self.device}"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, op: Any, _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(op, args, kwargs or {}, [])


class _Mode(TorchDispatchMode):
    """Also sees what makes tensors from none."""

    def __init__(self, reads: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reads = reads

    def __torch_dispatch__(self, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {}, self._reads)


def _run(op: Any, args: Any, kwargs: dict[str, Any], reads: list[str]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, _Elsewhere)]
    device = there[0].device if there else None
    _check_meeting(op, args, tensors)
    if there and op in _READING:
        reads.append(str(op))
    if "device" in kwargs and kwargs["device"] is not None:
        asked = torch.device(kwargs["device"])
        if there and asked.type == "cpu":
            reads.append(str(op))
        device = None if asked.type == "cpu" else torch.device(asked.type, asked.index or 0)
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if op is _aten.copy_.default and not isinstance(args[0], _Elsewhere):
        device = None
    held = tree_map_only(_Elsewhere, lambda t: t.held, (args, kwargs))
    result = op(*held[0], **held[1])
    if device is None or op is _aten._local_scalar_dense.default:
        return args[0] if op is _aten.copy_.default else result
    if device.type not in ("cpu", "cuda"):
        _check_able(op, result)
    wrapped = tree_map_only(Tensor, lambda t: _Elsewhere(t, device), result)
    return return_and_correct_aliasing(op, args, kwargs, wrapped)


def _check_meeting(op: Any, args: Any, tensors: list[Tensor]) -> None:
    there = [tensor for tensor in tensors if isinstance(tensor, _Elsewhere)]
    here = [tensor for tensor in tensors if not isinstance(tensor, _Elsewhere)]
    if (op in _INDEXING and isinstance(args[0], _Elsewhere)) or op in _COPIES:
        return  # an index may lie on the CPU
    if torch.Tag.pointwise in op.tags:
        here = [tensor for tensor in here if tensor.dim()]
    if there and here:
        raise RuntimeError(
            f"{op} got tensors on {there[0].device} and on the CPU, {[t.shape for t in tensors]}."
        )


def _check_able(op: Any, result: Any) -> None:
    if op in _MISSING:
        raise NotImplementedError(f"There is no {op} elsewhere.")
    for tensor in tree_leaves(result):
        if isinstance(tensor, Tensor) and tensor.dtype == torch.float64:
            raise TypeError(f"There is no float64 elsewhere, as {op} would need.")


class _Module(backend_registration._DummyBackendModule):
    """What PyTorch wants to know of a kind of device: ``torch.elsewhere``."""

    state = torch.arange(16, dtype=torch.uint8)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, _: torch.device) -> Tensor:
        return self.state

    def set_rng_state(self, state: Tensor, _: torch.device) -> None:
        self.state = state

    def manual_seed(self, seed: int) -> None:
        self.state = torch.full((16,), seed, dtype=torch.uint8)

    def device(self, _: torch.device) -> nullcontext[None]:
        return nullcontext()


def register() -> None:
    """Make ``DEVICE`` known to PyTorch, once a process."""
    backend_registration._setup_privateuseone_for_python_backend(
        "elsewhere", backend_module=_Module()
    )
    # New parameters instead of new data for old ones, as for every subclass of Tensor.
    torch.__future__.set_overwrite_module_params_on_conversion(True)


@contextmanager
def elsewhere() -> Iterator[list[str]]:
    """Inside, tensors can be moved to ``DEVICE``, and to ``CUDA`` if there is no real GPU.

    On the latter nothing can be differentiated.

    Yields:
        A list to which every operation is added that reads values there.
    """
    reads: list[str] = []
    to_list = Tensor.tolist

    def tolist(tensor: Tensor) -> Any:
        if isinstance(tensor, _Elsewhere):
            reads.append("tolist")
            return to_list(tensor.held)
        return to_list(tensor)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Tensor, "tolist", tolist))
        if not torch.cuda.is_available():
            torch._C._ensureCUDADeviceGuardSet()
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            for name, value in _cuda().items():
                stack.enter_context(mock.patch.object(torch.cuda, name, value))
        # Or PyTorch would look for a driver.
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Mode(reads))
        yield reads


def _cuda() -> dict[str, Any]:
    """Functions of ``torch.cuda`` for a GPU that is not there."""
    module = _Module()
    return {
        "_lazy_init": lambda: None,
        "get_rng_state": module.get_rng_state,
        "set_rng_state": module.set_rng_state,
        "manual_seed": module.manual_seed,
        "device": module.device,
        "memory_reserved": lambda _: 0,
        "memory_allocated": lambda _: 0,
        "mem_get_info": lambda _: (2**30, 2**30),
    }
