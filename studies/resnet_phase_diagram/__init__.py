"""The phase diagram of the paper's residual networks."""
