from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.clock import parse_time
from app.providers.exact_json import read_object, read_objects
from app.providers.oanda.stream import Lines
from app.providers.oanda.values import moment, read_price, read_time
from app.providers.passed_over import PassedOver
from tests.providers.oanda.stub_market import nine_digits


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_a_time_is_read_to_the_nanosecond(nanoseconds: int) -> None:
    text = nine_digits(nanoseconds)
    assert read_time(text) == nanoseconds
    assert moment(nanoseconds) == parse_time(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:01.0000000019+01:00", 1_000_000_001),
    ],
)
def test_a_time_is_read_with_any_offset_and_number_of_decimals(text: str, nanoseconds: int) -> None:
    assert read_time(text) == nanoseconds


@pytest.mark.parametrize("value", [None, 1, "", "1475645296.729643492", "2016-10-05T05:28:16", "2016-13-05T05:28:16Z"])
def test_what_is_no_time_is_told(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_time(value)


def test_a_moment_is_cut_to_the_microsecond() -> None:
    assert moment(1_999_999_999) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1, microseconds=999_999)


@pytest.mark.parametrize("value", ["1.08750", "151.245", Decimal("1.10"), 7])
def test_a_price_is_read_as_written(value: object) -> None:
    assert str(read_price(value)) == str(value)


@pytest.mark.parametrize("value", [None, True, 1.1, "", "0", "0.00", "-1", "+1", "1e5", "NaN", "Infinity", "1.", "١", " 1", []])
def test_what_is_no_positive_price_is_told(value: object) -> None:
    with pytest.raises(ValueError, match="no price"):
        read_price(value)


def test_numbers_never_pass_through_a_float() -> None:
    assert read_object(b'{"price":1.10000000000000000001}') == {"price": Decimal("1.10000000000000000001")}


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b'"a"', b"{", b"\xff", b'{"a":' * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_what_is_no_object_is_told(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_object(text)


@pytest.mark.parametrize("value", [None, {}, "", [1], [{}, None]])
def test_what_is_no_list_of_objects_is_told(value: object) -> None:
    with pytest.raises(ValueError, match="no list of objects"):
        read_objects(value)


@given(st.lists(st.binary(max_size=4)), st.integers(1, 5))
def test_lines_are_the_same_wherever_a_stream_is_cut(parts: list[bytes], size: int) -> None:
    stream = b"\n".join(parts) + b"\n"
    passed_over = PassedOver("OANDA")
    lines = Lines(passed_over)
    got = [line for start in range(0, len(stream), size) for line in lines.feed(stream[start : start + size])]
    assert got == [line.strip() for line in stream.split(b"\n") if line.strip()]


@pytest.mark.parametrize("size", [999_999, 1_000_000, 3_000_000])
def test_a_line_too_long_is_not_kept(size: int) -> None:
    passed_over = PassedOver("OANDA")
    lines = Lines(passed_over)
    assert lines.feed(b"a\nb" + b"x" * size) == [b"a"]
    assert lines.feed(b"y" * size + b"\nc\n") == [b"c"]
    assert passed_over.counts == {"malformed": 1}
