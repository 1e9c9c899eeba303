"""Load generators for UDP, TCP and HTTP: bounded in time, every answer checked, latency from a histogram."""
