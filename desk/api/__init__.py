"""The management API /v1 in Statuspage's shape: one file for each resource."""
