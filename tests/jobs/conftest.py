"""The databases that jobs are tested on."""

from tests.postgres import (
    _postgres_that_stops,
    database,
    database_url,
    postgres,
    postgres_server,
    postgres_url,
    sqlite_url,
)
from tests.untraced import untraced_test

__all__ = [
    "_postgres_that_stops",
    "database",
    "database_url",
    "postgres",
    "postgres_server",
    "postgres_url",
    "sqlite_url",
    "untraced_test",
]
