from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidPair
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs

_CODES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)


@pytest.mark.parametrize("text", ["EUR_USD", "eur_usd", "EUR/USD", "eur/usd", "EURUSD", "eurUsd"])
def test_every_spelling_is_one_pair(text: str) -> None:
    assert CurrencyPair.parse(text) == CurrencyPair("EUR", "USD")


@pytest.mark.parametrize(
    "text",
    ["", "EUR", "EUR_US", "EUR_USDX", "EUR-USD", "EUR__USD", " EUR_USD", "EUR_USD\n", "EU1_USD", "EUR_EUR", "ÉUR_USD"],
)
def test_anything_else_is_no_pair(text: str) -> None:
    with pytest.raises(InvalidPair, match="Invalid instrument"):
        CurrencyPair.parse(text)


def test_an_error_repeats_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(InvalidPair) as caught:
        CurrencyPair.parse("X" * 10_000)
    assert len(str(caught.value)) < 80


@given(_CODES, _CODES)
def test_a_name_reads_as_the_pair_it_is_of(base: str, quote: str) -> None:
    if base == quote:
        with pytest.raises(InvalidPair):
            CurrencyPair.parse(f"{base}_{quote}")
    else:
        pair = CurrencyPair(base, quote)
        assert CurrencyPair.parse(pair.name) == pair
        assert str(pair) == pair.name == f"{base}_{quote}"


_OANDA = {
    -2: (
        "AUD_JPY CAD_JPY CHF_JPY EUR_HUF EUR_JPY GBP_JPY NZD_JPY SGD_JPY TRY_JPY USD_HUF USD_JPY USD_THB ZAR_JPY "
        "XAU_CHF XAU_USD XPT_USD XPD_USD"
    ),
    -4: (
        "AUD_CAD AUD_CHF AUD_HKD AUD_NZD AUD_SGD AUD_USD CAD_CHF CAD_HKD CAD_SGD CHF_HKD CHF_ZAR EUR_AUD EUR_CAD EUR_CHF EUR_CZK "
        "EUR_DKK EUR_GBP EUR_HKD EUR_NOK EUR_NZD EUR_PLN EUR_SEK EUR_SGD EUR_TRY EUR_USD EUR_ZAR GBP_AUD GBP_CAD GBP_CHF GBP_HKD "
        "GBP_NZD GBP_PLN GBP_SGD GBP_USD GBP_ZAR HKD_JPY NZD_CAD NZD_CHF NZD_HKD NZD_SGD NZD_USD SGD_CHF SGD_HKD USD_CAD USD_CHF "
        "USD_CNH USD_CZK USD_DKK USD_HKD USD_MXN USD_NOK USD_PLN USD_SAR USD_SEK USD_SGD USD_TRY USD_ZAR XAG_USD"
    ),
}
"""OANDA's currency pairs and metals by their ``pipLocation``; their ``displayPrecision`` is one more."""


@pytest.mark.parametrize(("location", "name"), [(location, name) for location, names in _OANDA.items() for name in names.split()])
def test_pips_are_those_of_oanda(location: int, name: str) -> None:
    pair = CurrencyPair.parse(name)
    assert (pair.precision, pair.pip) == (1 - location, Decimal(1).scaleb(location))


def test_a_change_of_the_forint_is_a_few_pips() -> None:
    change = Decimal("390.079") - Decimal("390.000")
    assert round(float(change / CurrencyPair("EUR", "HUF").pip), 1) == 7.9


@pytest.mark.parametrize(
    ("name", "price", "rounded"),
    [
        ("EUR_USD", "1.0875", "1.08750"),
        ("EUR_USD", "1.087505", "1.08750"),
        ("EUR_USD", "1.087515", "1.08752"),
        ("EUR_USD", "1.0875051", "1.08751"),
        ("USD_JPY", "151.2345", "151.234"),
        ("USD_JPY", "151.2355", "151.236"),
    ],
)
def test_rounds_to_precision_ties_to_even(name: str, price: str, rounded: str) -> None:
    assert str(CurrencyPair.parse(name).round(Decimal(price))) == rounded


@pytest.mark.parametrize(
    ("name", "mid", "rounded"),
    [
        ("EUR_USD", "1.0946", "1.09460"),
        ("EUR_USD", "1.094605", "1.094605"),
        ("EUR_USD", "1.0946049", "1.094605"),
        ("EUR_USD", "1.0946000499", "1.09460"),
        ("EUR_USD", "-0.000005", "-0.000005"),
        ("EUR_USD", "0", "0.00000"),
        ("USD_JPY", "151.2345", "151.2345"),
        ("EUR_HUF", "390.0795", "390.0795"),
    ],
)
def test_a_mid_has_one_digit_more_where_it_needs_it(name: str, mid: str, rounded: str) -> None:
    assert str(CurrencyPair.parse(name).round_mid(Decimal(mid))) == rounded


def test_the_default_pairs_are_twenty_in_their_one_spelling() -> None:
    assert len(set(DEFAULT_PAIRS)) == 20
    assert TrackedPairs(DEFAULT_PAIRS).names == DEFAULT_PAIRS


def test_tracked_pairs_keep_their_order_and_know_their_names() -> None:
    pairs = TrackedPairs(["usdjpy", "EUR/USD"])
    assert pairs.names == ("USD_JPY", "EUR_USD")
    assert list(pairs) == [CurrencyPair("USD", "JPY"), CurrencyPair("EUR", "USD")]
    assert len(pairs) == 2
    assert "EUR_USD" in pairs
    assert "EUR/USD" not in pairs
    assert "GBP_USD" not in pairs


@pytest.mark.parametrize("text", ["EUR_USD", "eur_usd", "EUR/USD", "eur/usd", "EURUSD", "eurusd"])
def test_finds_a_tracked_pair_in_any_spelling(text: str) -> None:
    assert TrackedPairs(["EUR_USD"]).find(text) == CurrencyPair("EUR", "USD")


@pytest.mark.parametrize("text", ["GBP_USD", "", "EUR_USDX", "EUR_USD_and_more", "EURUSDX", "E" * 1000])
def test_finds_nothing_else(text: str) -> None:
    with pytest.raises(InvalidPair, match="Invalid instrument") as caught:
        TrackedPairs(["EUR_USD"]).find(text)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        (["EUR_USD"], "a list"),
        ({"pair": "EUR_USD"}, "an object"),
        (b"EUR_USD", "binary data"),
        (object(), "that"),
    ],
)
def test_names_the_kind_of_a_value_that_is_no_text(value: object, kind: str) -> None:
    with pytest.raises(InvalidPair, match=f"a name like EUR_USD is needed, not {kind}$"):
        TrackedPairs(["EUR_USD"]).find(value)
