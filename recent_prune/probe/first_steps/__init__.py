"""A few real updates with the trial's own optimizer, and what they show."""
