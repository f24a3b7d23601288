"""The gateway that generated clients and browsers ask."""

from tests.contract.conftest import furnished_url

__all__ = ["furnished_url"]
