from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.bar_files.text.rows import Column, Rows
from app.providers.bar_files.values.numbers import kept, read_price, read_prices, read_volume, read_volumes
from app.providers.bar_files.values.unusable import UnusableRow


def _column(texts: list[str]) -> Column:
    rows = Rows("\n".join(f"{text};" for text in texts).encode(), 1, ";", 2)
    assert len(rows.good) == len(texts)
    return rows.column(0)


_DIGITS = st.text("0123456789", max_size=9)
_PRICES = st.one_of(
    st.builds("{}.{}".format, _DIGITS, _DIGITS),
    _DIGITS,
    st.text("0123456789.,e-+x_ ", max_size=20),
    st.floats(0.0001, 9e6).map(repr),
)


@given(st.lists(_PRICES, min_size=1, max_size=30), st.sampled_from(".,"))
@settings(deadline=None)
def test_a_column_of_prices_has_what_each_has_by_itself(texts: list[str], point: str) -> None:
    numbers = read_prices(_column(texts), point)
    for row, text in enumerate(texts):
        try:
            expected = kept(read_price(text, point))
        except UnusableRow:
            assert not numbers.usable[row], text
            continue
        assert numbers.usable[row], text
        assert Decimal(int(numbers.digits[row])).scaleb(-int(numbers.decimals[row])) == expected, text


@pytest.mark.parametrize(
    ("text", "point", "price"),
    [
        ("1.30660", ".", "1.30660"),
        ("1,30660", ",", "1.30660"),
        ("1,234.5", ".", "1234.5"),
        ("1.234,5", ",", "1234.5"),
        ("1.3065999746322632", ".", "1.3066"),
        ("86.65499877929688", ".", "86.655"),
        ("1.3066000000000002", ".", "1.3066"),
        ("1.23456789012", ".", "1.2345678901"),
    ],
)
def test_a_price_as_programs_write_it(text: str, point: str, price: str) -> None:
    assert kept(read_price(text, point)) == Decimal(price)


@pytest.mark.parametrize(
    ("text", "point"),
    [("1.306", ","), ("1.306,5,5", ","), ("1,30660", "."), ("", "."), (".", "."), ("-1", "."), ("1e5", "."), ("10000000", ".")],
)
def test_what_is_no_price_or_could_be_two(text: str, point: str) -> None:
    with pytest.raises(UnusableRow, match="not a price"):
        read_price(text, point)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("100", 100), ("3912.3701", 3912), ("0.5", 1), ("", 0), ("NaN", 0), ("nan", 0), ("-", 0), ("-7", 0), ("some", 0),
        ("1.2K", 1200), ("3M", 3_000_000), ("1e3", 1000), ("inf", 0), ("1,234", 1234), ("9" * 40, 0),
    ],
)  # fmt: skip
def test_a_volume_is_a_whole_number_and_no_reason_to_reject_a_row(text: str, volume: int) -> None:
    assert read_volume(text) == volume
    assert np.array_equal(read_volumes(_column([text, "7", text]), "."), [volume, 7, volume])
