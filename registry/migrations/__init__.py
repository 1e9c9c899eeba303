"""The schema as numbered SQL files, applied in order, never changed once released; see registry.migrate."""
