"""Neighbours of a node: the node above it, the nodes below, and what they tell each other over a signed HTTP API."""
