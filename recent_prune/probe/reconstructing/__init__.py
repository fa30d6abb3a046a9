"""The estimators: how inputs are reconstructed from activations."""
