"""Bars, quotes and the sessions of the trading day."""

from alembic.operations import Operations
from sqlalchemy import BigInteger, Boolean, Column, String, Time

from app.storage.database.columns import Moment, Money

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Make ``candles``, ``ticks`` and ``market_sessions``."""
    op.create_table(
        "candles",
        Column("pair", String, primary_key=True),
        Column("granularity", String, primary_key=True),
        Column("time", Moment, primary_key=True),
        *(
            Column(f"{side}_{price}", Money, nullable=False)
            for side in ("bid", "mid", "ask")
            for price in ("open", "high", "low", "close")
        ),
        Column("volume", BigInteger, nullable=False),
        Column("complete", Boolean, nullable=False),
        Column("source", String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ticks",
        Column("milliseconds", BigInteger, primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("pair", String, nullable=False),
        Column("bid", Money, nullable=False),
        Column("ask", Money, nullable=False),
        Column("time", Moment, nullable=False),
        Column("source", String, nullable=False),
        Column("kind", String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "market_sessions",
        Column("name", String, primary_key=True),
        Column("timezone", String, nullable=False),
        Column("opening", Time, nullable=False),
        Column("closing", Time, nullable=False),
        Column("description", String, nullable=False),
    )
