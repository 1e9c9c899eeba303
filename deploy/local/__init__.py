"""One machine: an embedded Postgres, a supervisor, and a hierarchy of real processes on loopback."""

__all__: list[str] = []
