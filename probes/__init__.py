"""Eyes: checks, their results from all locations, and the verdict."""
