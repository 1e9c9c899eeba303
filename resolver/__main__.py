"""Run one recursive node: python -m resolver CONFIG.toml."""
