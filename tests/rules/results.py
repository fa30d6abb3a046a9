"""Results written by hand, for rules."""

from recent_prune.testing import example_result as result

__all__ = ["result"]
