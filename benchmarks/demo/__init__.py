"""What the demo brings on a machine."""
