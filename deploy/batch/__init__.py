"""Batches of administration in the syntax of deployed tools: read, carried out, reported, resumed."""
