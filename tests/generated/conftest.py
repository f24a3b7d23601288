"""The gateway that generated clients and browsers ask."""

from tests.contract.conftest import furnished_url
from tests.untraced import untraced

__all__ = ["furnished_url", "untraced"]
