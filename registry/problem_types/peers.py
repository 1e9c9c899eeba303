"""Problem types of nodes and what they send each other."""
