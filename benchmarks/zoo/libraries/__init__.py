"""Models of libraries, from their own constructors, without weights."""
