"""The phase diagram of the paper's convolutional networks."""
