"""Other people's searches on the same tables, through their own code, alone and behind rung zero."""
