"""From what a user's loader yields to samples."""
