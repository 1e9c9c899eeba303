"""Thin asyncio adapters: every socket that speaks to a peer is opened here."""
