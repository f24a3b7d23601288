"""Events that could not be stored, and when figures were computed."""

from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, Integer, String

from app.storage.database.columns import FreeText, Moment

revision = "0005"
down_revision = "0004"


def upgrade(op: Operations) -> None:
    """Make ``refused_events``, and add ``computed`` to the figures.

    It stays null in old rows, whose age is that of their ``time``.
    """
    op.create_table(
        "refused_events",
        Column("id", Integer, primary_key=True),
        Column("milliseconds", BigInteger, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("type", String, nullable=False),
        Column("payload", FreeText, nullable=False),
        Column("reason", FreeText, nullable=False),
        Column("time", Moment, nullable=False),
    )
    op.create_index("ix_refused_events_time", "refused_events", ["time"])
    for table in ("volatility_metrics", "correlations", "best_pairs"):
        op.add_column(table, Column("computed", Moment))
