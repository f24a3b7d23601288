"""The error for unusable rows."""


class UnusableRow(Exception):
    """A row that cannot be used; the text is the reason, the same for all such rows."""
