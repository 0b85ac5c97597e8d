"""Hands: what operators and other programs do."""
