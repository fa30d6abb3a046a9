"""What the Ray Tune scheduler saves, and what it costs where nothing is to be saved."""
