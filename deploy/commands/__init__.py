"""The subcommands of `handlegrid`: each parses, calls the package that owns the logic, and prints."""

__all__: list[str] = []
