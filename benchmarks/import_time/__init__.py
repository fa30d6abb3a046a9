"""How long importing the package takes, beside importing PyTorch."""
