"""Voice: the line from a published entry to a settled delivery."""
