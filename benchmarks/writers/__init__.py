"""A load of authenticated writes, a process of its own: python -m benchmarks.writers, see __main__.py."""
