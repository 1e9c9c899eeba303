"""Problem types of the audit."""
