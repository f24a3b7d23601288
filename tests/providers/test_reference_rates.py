from datetime import timedelta
from decimal import Decimal

import pytest
from currency_converter import CurrencyConverter

from app.errors import SourceError
from app.providers.reference_rates import listed, reference_rates, unlisted


def test_rates_are_those_of_the_last_days_as_published() -> None:
    rates = reference_rates(["USD", "EUR", "JPY"], 30)
    converter = CurrencyConverter(decimal=True)
    assert rates.codes == ("USD", "EUR", "JPY")
    assert rates.dates[-1] == converter.bounds["USD"].last_date
    assert list(rates.dates) == sorted(set(rates.dates))
    assert len(rates.rows) == len(rates.dates) == 30
    assert rates.dates[-1] - rates.dates[0] < timedelta(days=60)
    for day, (usd, eur, jpy) in zip(rates.dates, rates.rows, strict=True):
        assert (usd, jpy) == tuple(converter.convert(1, "EUR", code, day) for code in ("USD", "JPY"))
        assert eur == Decimal(1)


def test_fewer_days_come_back_where_the_table_has_no_more() -> None:
    assert 7000 < len(reference_rates(["USD"], 100_000).rows) < 100_000


def test_offshore_renminbi_goes_by_the_onshore_rate() -> None:
    assert [listed(code) for code in ("CNH", "CNY", "USD")] == ["CNY", "CNY", "USD"]


def test_currencies_without_recent_rates_are_named() -> None:
    with pytest.raises(SourceError, match=r"^The ECB lists no recent rates of RUB, XAU$"):
        reference_rates(["USD", "RUB", "XAU"], 30)
    assert reference_rates(["RUB"], 30, at_least=0).rows == ()
    assert unlisted(["USD", "RUB", "EUR", "XAU"]) == ["RUB", "XAU"]
