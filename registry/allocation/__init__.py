"""Prefixes from application to revocation: who may use which, who serves it, and why."""
