"""What jobs compute, and their runs."""

from alembic.operations import Operations
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String

from app.storage.database.columns import FreeText, Json, Moment

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    """Make ``volatility_metrics``, ``correlations``, ``best_pairs`` and ``job_runs``."""
    op.create_table(
        "volatility_metrics",
        Column("pair", String, primary_key=True),
        Column("time", Moment, primary_key=True),
        Column("granularity", String, primary_key=True),
        Column("volatility", Float),
        Column("simulated", Boolean, nullable=False),
        Column("data", Json, nullable=False),
    )
    op.create_table(
        "correlations",
        Column("time", Moment, primary_key=True),
        Column("pair1", String, primary_key=True),
        Column("pair2", String, primary_key=True),
        Column("granularity", String, nullable=False),
        Column("window", Integer, nullable=False),
        Column("correlation", Float),
        Column("observations", Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "best_pairs",
        Column("time", Moment, primary_key=True),
        Column("category", String, primary_key=True),
        Column("pair1", String, primary_key=True),
        Column("pair2", String, primary_key=True),
        Column("correlation", Float, nullable=False),
        Column("observations", Integer, nullable=False),
        Column("reason", String, nullable=False),
        Column("rank", Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_runs",
        Column("id", Integer, primary_key=True),
        Column("job", String, nullable=False),
        Column("started", Moment, nullable=False),
        Column("ended", Moment),
        Column("status", String, nullable=False),
        Column("records", BigInteger, nullable=False),
        Column("error", FreeText),
    )
    op.create_index("ix_job_runs_job", "job_runs", ["job", "started"])
    op.create_index("ix_job_runs_started", "job_runs", ["started"])
