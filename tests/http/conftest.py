"""A REST interface for every test that needs nothing special."""

from tests.routers.conftest import api

__all__ = ["api"]
