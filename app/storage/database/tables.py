"""The tables, one class each. The migrations tell how they came to be."""

from datetime import datetime, time
from decimal import Decimal

from sqlalchemy import BigInteger, Index, MetaData, Table
from sqlmodel import Field, SQLModel

from app.storage.database.columns import FreeText, Json, Moment, Money

_BY_KEY = {"sqlite_with_rowid": False}  # rows are stored in the order of the primary key, by which they are read


class Row(SQLModel):
    """The base of all tables: the metadata that holds them."""

    metadata = MetaData()


def table_of(row: type[Row]) -> Table:
    """Return the table of a class, for use in statements."""
    return row.metadata.tables[str(row.__tablename__)]


class _BarColumns(Row):
    """A bar of one pair; ``time`` is its start.

    What it was made of: see ``app/market/bars/making.py``. ``covered`` is in seconds, and 0 where the bar is whole.
    """

    pair: str = Field(primary_key=True)
    granularity: str = Field(primary_key=True)
    time: datetime = Field(sa_type=Moment)
    bid_open: Decimal = Field(sa_type=Money)
    bid_high: Decimal = Field(sa_type=Money)
    bid_low: Decimal = Field(sa_type=Money)
    bid_close: Decimal = Field(sa_type=Money)
    mid_open: Decimal = Field(sa_type=Money)
    mid_high: Decimal = Field(sa_type=Money)
    mid_low: Decimal = Field(sa_type=Money)
    mid_close: Decimal = Field(sa_type=Money)
    ask_open: Decimal = Field(sa_type=Money)
    ask_high: Decimal = Field(sa_type=Money)
    ask_low: Decimal = Field(sa_type=Money)
    ask_close: Decimal = Field(sa_type=Money)
    volume: int = Field(sa_type=BigInteger)
    complete: bool
    source: str
    made_of: str
    parts: int
    covered: int
    whole: bool
    standing: int
    first_time: datetime | None = Field(sa_type=Moment)
    last_time: datetime | None = Field(sa_type=Moment)
    since: datetime | None = Field(sa_type=Moment)


class CandleRow(_BarColumns, table=True):
    """A bar as clients see it."""

    __tablename__ = "candles"
    __table_args__ = _BY_KEY

    time: datetime = Field(primary_key=True, sa_type=Moment)


class RecorderBarRow(_BarColumns, table=True):
    """The bar of a pair and length that a recorder is building. Only that recorder writes it, unlike the bar in ``candles``."""

    __tablename__ = "recorder_bars"
    __table_args__ = _BY_KEY

    recorder: str = Field(primary_key=True)


class RecorderCursorRow(Row, table=True):
    """The position of a recorder: the cursor ``milliseconds-number`` and the sequence number of the log."""

    __tablename__ = "recorder_cursors"

    recorder: str = Field(primary_key=True)
    milliseconds: int = Field(sa_type=BigInteger)
    number: int = Field(sa_type=BigInteger)
    seq: int = Field(sa_type=BigInteger)


class _LogColumns(Row):
    """The id ``milliseconds-number`` of a log entry, as numbers that sort as the log does."""

    milliseconds: int = Field(primary_key=True, sa_type=BigInteger)
    number: int = Field(primary_key=True, sa_type=BigInteger)


class TickRow(_LogColumns, table=True):
    """A quote as it entered the log."""

    __tablename__ = "ticks"
    __table_args__ = (Index("ix_ticks_pair", "pair", "milliseconds", "number"), _BY_KEY)

    pair: str
    bid: Decimal = Field(sa_type=Money)
    ask: Decimal = Field(sa_type=Money)
    time: datetime = Field(sa_type=Moment)
    source: str
    kind: str


class EventRow(_LogColumns, table=True):
    """An event of the log with its payload; ``pairs`` are separated by spaces."""

    __tablename__ = "events"

    type: str
    pairs: str = Field(sa_type=FreeText)
    time: datetime = Field(sa_type=Moment)
    data: bytes = Field(sa_type=Json)


class RefusedEventRow(Row, table=True):
    """An event that could not be stored, or a row made of it, with the id of the log entry and the reason."""

    __tablename__ = "refused_events"
    __table_args__ = (Index("ix_refused_events_time", "time"),)

    id: int | None = Field(default=None, primary_key=True)
    milliseconds: int = Field(sa_type=BigInteger)
    number: int = Field(sa_type=BigInteger)
    type: str
    payload: str = Field(sa_type=FreeText)
    reason: str = Field(sa_type=FreeText)
    time: datetime = Field(sa_type=Moment)


class AlertRow(_LogColumns, table=True):
    """An alert of the log; ``pair2`` is the second pair of a correlation."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index("ix_alerts_pair1", "pair1", "milliseconds", "number"),
        Index("ix_alerts_pair2", "pair2", "milliseconds", "number"),
    )

    type: str
    pair1: str = Field(sa_type=FreeText)
    pair2: str | None = Field(sa_type=FreeText)
    severity: str = Field(sa_type=FreeText)
    value: Decimal = Field(sa_type=Money)
    threshold: Decimal = Field(sa_type=Money)
    message: str = Field(sa_type=FreeText)
    time: datetime = Field(sa_type=Moment)
    data: bytes = Field(sa_type=Json)


class PriceLevelRow(Row, table=True):
    """A price level that a user has set, and its state."""

    __tablename__ = "price_levels"

    id: str = Field(primary_key=True)
    pair: str = Field(index=True)
    direction: str
    level: Decimal = Field(sa_type=Money)
    severity: str
    message: str | None = Field(sa_type=FreeText)
    repeat: bool
    cooldown_seconds: int
    created: datetime = Field(sa_type=Moment)
    armed: bool
    triggered: int
    last_triggered: datetime | None = Field(sa_type=Moment)


class VersionRow(Row, table=True):
    """A number that rises whenever rows of a table are added or deleted, for processes that watch the table."""

    __tablename__ = "versions"

    name: str = Field(primary_key=True)
    number: int = Field(sa_type=BigInteger)


class AlertStateRow(Row, table=True):
    """What a threshold alert remembers from one run of a job to the next."""

    __tablename__ = "alert_states"

    key: str = Field(primary_key=True)
    data: bytes = Field(sa_type=Json)


class MetricsRow(Row, table=True):
    """The figures of a pair at the end of a bar; ``volatility`` is the one whose history can be queried.

    In old rows of figures, ``computed`` is null.
    """

    __tablename__ = "volatility_metrics"

    pair: str = Field(primary_key=True)
    time: datetime = Field(primary_key=True, sa_type=Moment)
    granularity: str = Field(primary_key=True)
    volatility: float | None
    simulated: bool
    data: bytes = Field(sa_type=Json)
    computed: datetime | None = Field(sa_type=Moment)


class CorrelationRow(Row, table=True):
    """A cell of the correlation matrix of a time; null when there were too few observations."""

    __tablename__ = "correlations"
    __table_args__ = _BY_KEY

    time: datetime = Field(primary_key=True, sa_type=Moment)
    pair1: str = Field(primary_key=True)
    pair2: str = Field(primary_key=True)
    granularity: str
    window: int
    correlation: float | None
    observations: int
    computed: datetime | None = Field(sa_type=Moment)


class BestPairRow(Row, table=True):
    """Two pairs found fit for a purpose at the time of a matrix."""

    __tablename__ = "best_pairs"
    __table_args__ = _BY_KEY

    time: datetime = Field(primary_key=True, sa_type=Moment)
    category: str = Field(primary_key=True)
    pair1: str = Field(primary_key=True)
    pair2: str = Field(primary_key=True)
    correlation: float
    observations: int
    reason: str
    rank: int
    computed: datetime | None = Field(sa_type=Moment)


class MarketSessionRow(Row, table=True):
    """A session of the trading day, in the local times of its zone."""

    __tablename__ = "market_sessions"

    name: str = Field(primary_key=True)
    timezone: str
    opening: time
    closing: time
    description: str


class JobRunRow(Row, table=True):
    """A run of a job."""

    __tablename__ = "job_runs"
    __table_args__ = (Index("ix_job_runs_job", "job", "started"), Index("ix_job_runs_started", "started"))

    id: int | None = Field(default=None, primary_key=True)
    job: str
    started: datetime = Field(sa_type=Moment)
    ended: datetime | None = Field(sa_type=Moment)
    status: str
    records: int = Field(sa_type=BigInteger)
    error: str | None = Field(sa_type=FreeText)
