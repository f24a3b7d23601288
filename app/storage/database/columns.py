"""Column types that return exactly what was stored, on PostgreSQL and SQLite alike."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, Dialect, Numeric, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.market.clock import parse_time, rfc3339


class Money(TypeDecorator[Decimal]):
    """A Decimal with all its digits: NUMERIC, or text on SQLite, whose numbers are binary."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    # Whole processors: faster than process_bind_param and process_result_value, and a page of bars has many thousand prices.

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return _plain_text if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _decimal if dialect.name == "sqlite" else None


def _plain_text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


class Moment(TypeDecorator[datetime]):
    """An aware time, read back in UTC: TIMESTAMP WITH TIME ZONE, or RFC 3339 text on SQLite, which sorts as times do.

    Raises ValueError for a naive time.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs an offset: {value}")
        return rfc3339(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return value if value is None or dialect.name != "sqlite" else parse_time(value)


class Json(TypeDecorator[bytes]):
    """JSON as the UTF-8 bytes it came in, stored as text so that people can read it.

    Not as JSONB, which returns other bytes and refuses the escape of the NUL character, which JSON allows.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else value.decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()


class FreeText(TypeDecorator[str]):
    """Text from anywhere.

    NUL characters and unpaired surrogates, which PostgreSQL cannot store, become U+FFFD: no message can stop the process that
    stores it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
