"""An index by which the ticks of a pair are found."""

from alembic.operations import Operations

revision = "0006"
down_revision = "0005"


def upgrade(op: Operations) -> None:
    """Index ``ticks`` by pair and log id."""
    op.create_index("ix_ticks_pair", "ticks", ["pair", "milliseconds", "number"])
