"""Times as the gateway reads and writes them: aware, UTC, RFC 3339 with a Z."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present moment, aware."""
    return datetime.now(UTC)


def rfc3339(time: datetime) -> str:
    """``2026-01-31T09:30:00.123456Z``: always six decimals, so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with any offset, more than six decimals cut. Raises ValueError, also for a naive time."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"a time needs an offset: {text}")
    return time.astimezone(UTC)
