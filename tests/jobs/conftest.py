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

__all__ = [
    "_postgres_that_stops",
    "database",
    "database_url",
    "postgres",
    "postgres_server",
    "postgres_url",
    "sqlite_url",
]
