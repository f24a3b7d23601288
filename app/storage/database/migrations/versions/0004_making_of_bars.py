"""What bars were made of."""

from alembic.operations import Operations
from sqlalchemy import Boolean, Column, Integer, String

from app.storage.database.columns import Moment

revision = "0004"
down_revision = "0003"

_TABLES = ("candles", "recorder_bars")


def upgrade(op: Operations) -> None:
    """Add to ``candles`` and ``recorder_bars`` what each bar was made of.

    How the bars of earlier versions were made is not known. Complete ones count as live ones, which better bars replace, except
    weeks and months: they may lack days, and are built again from what is stored.
    """
    for table in _TABLES:
        op.add_column(table, Column("made_of", String, nullable=False, server_default="live"))
        op.add_column(table, Column("parts", Integer, nullable=False, server_default="1"))
        op.add_column(table, Column("covered", Integer, nullable=False, server_default="0"))
        op.add_column(table, Column("whole", Boolean, nullable=False, server_default="1"))
        op.add_column(table, Column("standing", Integer, nullable=False, server_default="1"))
        op.add_column(table, Column("first_time", Moment))
        op.add_column(table, Column("last_time", Moment))
        op.add_column(table, Column("since", Moment))
    op.execute("UPDATE candles SET standing = 0 WHERE NOT complete")
    op.execute("UPDATE candles SET whole = false, standing = 0 WHERE granularity IN ('W', 'M')")
    op.execute("UPDATE recorder_bars SET standing = 0")
