"""People: who wants to hear of what, by which channel."""
