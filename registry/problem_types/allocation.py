"""Problem types of applications and prefixes."""
