"""The number of rows that a query may return."""


def positive(limit: int) -> int:
    """Return the limit. Raises ValueError unless it is positive: on SQLite a negative one would mean no limit at all."""
    if limit < 1:
        raise ValueError(f"a limit must be positive: {limit}")
    return limit
