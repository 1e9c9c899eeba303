"""Fixtures of every test: a Postgres for the session, a database or a world for a test."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.fixtures"]

settings.register_profile(
    "handlegrid",
    deadline=None,  # two shared cores: a slow example is no fault
    print_blob=True,  # a failure prints what replays it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("handlegrid")
