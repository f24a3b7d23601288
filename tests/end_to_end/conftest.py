"""The databases that whole gateways are tested on."""

from tests.postgres import database_url, postgres_server, postgres_url, sqlite_url
from tests.untraced import untraced

__all__ = ["database_url", "postgres_server", "postgres_url", "sqlite_url", "untraced"]
