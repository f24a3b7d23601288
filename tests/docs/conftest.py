"""Pages are tried out as their readers do it."""

from tests.untraced import untraced

__all__ = ["untraced"]
