"""What a recorder takes from the log, and what alerts remember."""

from alembic.operations import Operations
from sqlalchemy import BigInteger, Boolean, Column, Integer, String

from app.storage.database.columns import FreeText, Json, Moment, Money

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Make the tables of the recorder, ``events``, ``alerts``, ``alert_states``, ``price_levels`` and ``versions``."""
    op.create_table(
        "recorder_cursors",
        Column("recorder", String, primary_key=True),
        Column("milliseconds", BigInteger, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
    )
    op.create_table(
        "recorder_bars",
        Column("pair", String, primary_key=True),
        Column("granularity", String, primary_key=True),
        Column("time", Moment, nullable=False),
        *(
            Column(f"{side}_{price}", Money, nullable=False)
            for side in ("bid", "mid", "ask")
            for price in ("open", "high", "low", "close")
        ),
        Column("volume", BigInteger, nullable=False),
        Column("complete", Boolean, nullable=False),
        Column("source", String, nullable=False),
        Column("recorder", String, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        Column("milliseconds", BigInteger, primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("type", String, nullable=False),
        Column("pairs", FreeText, nullable=False),
        Column("time", Moment, nullable=False),
        Column("data", Json, nullable=False),
    )
    op.create_table(
        "alerts",
        Column("milliseconds", BigInteger, primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("type", String, nullable=False),
        Column("pair1", FreeText, nullable=False),
        Column("pair2", FreeText),
        Column("severity", FreeText, nullable=False),
        Column("value", Money, nullable=False),
        Column("threshold", Money, nullable=False),
        Column("message", FreeText, nullable=False),
        Column("time", Moment, nullable=False),
        Column("data", Json, nullable=False),
    )
    op.create_index("ix_alerts_pair1", "alerts", ["pair1", "milliseconds", "number"])
    op.create_index("ix_alerts_pair2", "alerts", ["pair2", "milliseconds", "number"])
    op.create_table(
        "alert_states",
        Column("key", String, primary_key=True),
        Column("data", Json, nullable=False),
    )
    op.create_table(
        "price_levels",
        Column("id", String, primary_key=True),
        Column("pair", String, nullable=False),
        Column("direction", String, nullable=False),
        Column("level", Money, nullable=False),
        Column("severity", String, nullable=False),
        Column("message", FreeText),
        Column("repeat", Boolean, nullable=False),
        Column("cooldown_seconds", Integer, nullable=False),
        Column("created", Moment, nullable=False),
        Column("armed", Boolean, nullable=False),
        Column("triggered", Integer, nullable=False),
        Column("last_triggered", Moment),
    )
    op.create_index("ix_price_levels_pair", "price_levels", ["pair"])
    op.create_table(
        "versions",
        Column("name", String, primary_key=True),
        Column("number", BigInteger, nullable=False),
    )
