"""Random models, data and trainings, of which most go wrong."""
