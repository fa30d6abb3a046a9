"""Numbers of activations, reconstructions and gradients."""
