"""Questions, each with a script and its answer."""
