"""Putting everything back as it was, and what the machine can do."""
