"""Problem types of organisations, users, sessions and API keys."""
