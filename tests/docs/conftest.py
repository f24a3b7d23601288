"""The pages are executed as readers would; no coverage is measured."""

from tests.untraced import untraced

__all__ = ["untraced"]
