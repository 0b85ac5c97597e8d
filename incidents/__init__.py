"""The core: what we say about an incident, to whom; knows no other room."""
