"""The phase diagram of the paper's fully connected networks."""
