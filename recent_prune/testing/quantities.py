"""The contract of a quantity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

SEEDS = range(10)
"""Of the random samples that quantity and twin are compared on."""


class QuantityContract:
    """What the probe relies on in a function from samples [n, …] to numbers.

    Inherit from it in a test module, under a name that begins with ``Test``, and name the quantity
    and its slow textbook twin, which is the definition, number by number:

    .. code-block:: python

        class TestPower(QuantityContract):
            bounds = (0.0, math.inf)

            def quantity(self, samples):
                return samples.flatten(1).square().mean()

            def twin(self, samples):
                rows = samples.flatten(1).tolist()
                return sum(x * x for row in rows for x in row) / sum(map(len, rows))

    The contract: the twin's numbers; the same ones twice, from arguments that stay as they were;
    within ``bounds`` and never infinite, also of samples that are all alike; the shape of the
    features and the order of the samples do not matter; NaN goes in and comes out, since a number
    that hides it would judge a broken network; single precision agrees with double as far as it
    goes.
    """

    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Least and greatest value, up to rounding."""

    rtol: ClassVar[float] = 1e-9
    """Relative tolerance of quantity against twin, in double precision."""

    def quantity(self, *samples: Tensor) -> Tensor:
        """The function: of tensors [n, …] a scalar, or a number for each sample, [n]."""
        raise NotImplementedError(f"{type(self).__name__} must say its quantity")

    def twin(self, *samples: Tensor) -> Any:
        """What it must come to: a number, or a list of n."""
        raise NotImplementedError(f"{type(self).__name__} must say its twin")

    def samples(self, seed: int) -> tuple[Tensor, ...]:
        """Arguments to try, all of one shape [n, d] and in float64. Default: one, in [0, 1]."""
        draw = torch.Generator().manual_seed(seed)
        return (torch.rand(6, 8, generator=draw, dtype=torch.float64),)

    def test_agrees_with_its_twin(self) -> None:
        """On random samples."""
        for seed in SEEDS:
            samples = self.samples(seed)
            expected = torch.as_tensor(self.twin(*samples), dtype=torch.float64)
            _same(self.quantity(*samples).double(), expected, self.rtol, f"seed {seed}, twin")

    def test_says_the_same_twice_and_leaves_its_arguments_alone(self) -> None:
        """To the last bit."""
        samples = self.samples(0)
        before = [tensor.clone() for tensor in samples]
        first = self.quantity(*samples)
        assert torch.equal(self.quantity(*samples), first), "another number when asked again"
        for tensor, was in zip(samples, before, strict=True):
            assert torch.equal(tensor, was), "an argument was changed"

    def test_is_finite_and_within_its_bounds(self) -> None:
        """Also where all samples, or all features, are alike."""
        low, high = self.bounds
        kinds: dict[str, Callable[[Tensor], Tensor]] = {
            "random": lambda x: x,
            "the same sample throughout": lambda x: x[:1].expand_as(x).clone(),
            "the same feature throughout": lambda x: x[:, :1].expand_as(x).clone(),
            "ones": torch.ones_like,
        }
        for name, kind in kinds.items():
            found = self.quantity(*(kind(tensor) for tensor in self.samples(0)))
            assert bool(found.isfinite().all()), f"{name}: not finite, {found}"
            within = (found >= low - 1e-6) & (found <= high + 1e-6)
            assert bool(within.all()), f"{name}: {found} is not in [{low}, {high}]"

    def test_the_shape_of_the_features_does_not_matter(self) -> None:
        """Images are rows of pixels."""
        flat = self.samples(0)
        images = [tensor.reshape(len(tensor), 1, 2, -1) for tensor in flat]
        _same(self.quantity(*images), self.quantity(*flat), self.rtol, "as images")

    def test_the_order_of_the_samples_does_not_matter(self) -> None:
        """What is a number for each sample follows them."""
        samples = self.samples(0)
        found = self.quantity(*samples)
        turned = self.quantity(*(tensor.flip(0) for tensor in samples))
        _same(turned, found.flip(0) if found.dim() else found, self.rtol, "in reverse")

    def test_nan_comes_out_where_it_goes_in(self) -> None:
        """In any argument, and infinity no less."""
        for place in range(len(self.samples(0))):
            for bad in (math.nan, math.inf):
                samples = self.samples(0)
                samples[place][2, 1] = bad
                found = self.quantity(*samples)
                assert not bool(found.isfinite().all()), f"{bad} in argument {place} does not show"

    def test_single_precision_is_enough(self) -> None:
        """Activations are seldom in double."""
        samples = self.samples(0)
        single = self.quantity(*(tensor.float() for tensor in samples))
        _same(single.double(), self.quantity(*samples).double(), 1e-3, "in single precision")


def _same(found: Tensor, expected: Tensor, rtol: float, what: str) -> None:
    torch.testing.assert_close(
        found, expected, rtol=rtol, atol=rtol, msg=lambda text: f"{what}: {text}"
    )
