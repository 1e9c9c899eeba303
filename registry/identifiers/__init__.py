"""Identifiers: what an enterprise registers below its prefixes; names, states, versions, minting and ranges."""
