"""The project: wiring only, no rules."""
