"""Other people's searches on the same tables, by their own code, alone and behind rung zero."""
