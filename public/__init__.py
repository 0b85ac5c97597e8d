"""Face: the files that everyone reads."""
