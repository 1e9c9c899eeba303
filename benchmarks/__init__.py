"""Repeatable load and side-by-side measurements; README.md has the figures."""
