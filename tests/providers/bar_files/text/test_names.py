from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.providers.bar_files.text.names import day_in_name, pair_in_name


@pytest.mark.parametrize(
    ("path", "pair"),
    [
        ("eurusd.zip", "EUR_USD"),
        ("EUR_USD.csv", "EUR_USD"),
        ("gbpusd-m1-bid-2012.csv.gz", "GBP_USD"),
        ("EUR_USD_H1.csv", "EUR_USD"),
        ("eurusd2014.csv", "EUR_USD"),
        ("usdjpy/20140505_quote.zip", "USD_JPY"),
        ("usdjpy/quotations.zip", "USD_JPY"),
        ("usdjpy/eurusd.zip", "EUR_USD"),
        ("data/rows.csv", None),
        ("data/eureur.csv", None),
    ],
)
def test_the_pair_begins_the_name_or_is_the_folder_s(path: str, pair: str | None) -> None:
    found = pair_in_name(Path("/") / path)
    assert (None if found is None else found.name) == pair


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("20140505_quote.zip", datetime(2014, 5, 5, tzinfo=UTC)),
        ("20140505.zip", datetime(2014, 5, 5, tzinfo=UTC)),
        ("20141305_quote.zip", None),
        ("eurusd.zip", None),
    ],
)
def test_the_day_begins_the_name(name: str, day: datetime | None) -> None:
    assert day_in_name(Path(name)) == day
