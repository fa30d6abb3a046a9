"""First steps written by hand, for rules."""

from recent_prune.testing import example_steps as steps

__all__ = ["steps"]
