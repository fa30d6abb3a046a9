"""Keep what is about to be written over, so that what nobody writes to needs no copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Writes(TorchDispatchMode):
    """While it is active, tensors are copied just before an operation first writes to them.

    It sees every operation of PyTorch's dispatcher, whatever view, ``.data`` or list the tensor is
    reached by; not what writes to memory by itself: an array of NumPy's that shares it, a kernel of
    somebody's own that declares no write.

    Args:
        tensors: Dense or not, also ones that share their memory.

    Attributes:
        former: Those that were written to, with what they held.
    """

    supports_higher_order_operators = True

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.former: list[tuple[Tensor, Tensor]] = []
        self._unwritten: dict[int, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            self._unwritten[_memory(tensor)].append(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Look at what is written to, then do it."""
        del types
        given = dict(kwargs or {})
        for tensor in _written(func, args, given):
            for known in self._unwritten.pop(_memory(tensor), ()):
                self.former.append((known, known.detach().clone()))
        return func(*args, **given)


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    schema = getattr(func, "_schema", None)  # higher-order operators have none
    if schema is None or not schema.is_mutable:
        return
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        yield from (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _memory(tensor: Tensor) -> int:
    """Which memory it is in; of a tensor made of others, its own identity."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return id(tensor)
