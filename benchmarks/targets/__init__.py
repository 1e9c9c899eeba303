"""Servers that can be measured: ours, the floors, and others' when they are installed."""
