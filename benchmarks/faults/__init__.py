"""What goes wrong where processes die, storages fail and models misbehave, counted."""
