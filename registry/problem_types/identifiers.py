"""Problem types of identifiers and ranges."""
