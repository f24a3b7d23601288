"""When figures were computed."""

from alembic.operations import Operations
from sqlalchemy import Column

from app.storage.database.columns import Moment

revision = "0005"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """Add ``computed`` to the figures. It stays null in old rows, whose age is that of their ``time``."""
    for table in ("volatility_metrics", "correlations", "best_pairs"):
        op.add_column(table, Column("computed", Moment))
