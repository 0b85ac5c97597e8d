"""Measurements against their own limits, and the promised points of each room."""
