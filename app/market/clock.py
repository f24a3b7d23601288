"""Times as the gateway reads and writes them: aware, in UTC, RFC 3339 with a Z."""

from datetime import UTC, datetime

RFC3339_DATE = r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
RFC3339_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
RFC3339_OFFSET = r"[Zz]|[+-]([01]\d|2[0-3]):[0-5]\d"
"""Patterns for the parts of a time from 1000 to 2999, used in schemas that describe what ``parse_time`` reads. Leap seconds are
not read.
"""


def utc_now() -> datetime:
    """Return the present time, aware."""
    return datetime.now(UTC)


def rfc3339(time: datetime) -> str:
    """Format a time as ``2026-01-31T09:30:00.123456Z``: always six decimals, so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with any offset; decimals beyond the sixth are cut. Raises ValueError, also for a naive time."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"a time needs an offset: {text}")
    return time.astimezone(UTC)
