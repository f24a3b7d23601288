"""Layouts without a header, recognised by the pattern of their rows.

======================  =====================================================================================================
OANDA in Lean           ``milliseconds since midnight,bid,ask``; ``…,bid open,high,low,close,0,ask open,high,low,close,0`` for
                        minutes and seconds; with ``YYYYMMDD HH:MM`` for hours and days
                        (https://github.com/QuantConnect/Lean, Data/forex)
TrueFX                  ``EUR/USD,20120201 00:00:00.123,bid,ask``; also ``timestamp,bid,ask`` (https://www.truefx.com)
HistData                ``20120201 000000;open;high;low;close;volume``, ``20120201 000000123,bid,ask,volume``, and MetaTrader's
                        (https://www.histdata.com/f-a-q/data-files-detailed-specification/); times are EST without summer time
MetaTrader 4            ``2012.02.01,00:00,open,high,low,close,volume``, on the clock of the broker's server
Kraken                  ``seconds since 1970,open,high,low,close,volume,trades``
                        (https://support.kraken.com, downloadable historical OHLCVT data)
======================  =====================================================================================================
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.market.bars.candle import Granularity
from app.providers.bar_files.layouts.layout import Head, Layout, TimeColumns
from app.providers.bar_files.values.clocks import EST_CLOCK, UTC_CLOCK

_PRICE = r"\d+(?:\.\d*)?"
_VOLUME = r"[^,;]*"
_HISTDATA_METATRADER = re.compile(r"DAT_MT_|HISTDATA_COM_MT_", re.IGNORECASE)
_SIDES = {"bid": (1, 2, 3, 4), "ask": (6, 7, 8, 9)}
_TICK_HEADER = "timestamp,bid,ask"


@dataclass(frozen=True, slots=True)
class _Form:
    """A layout and the pattern of its rows."""

    row: re.Pattern[str]
    layout: Layout
    needs_day: bool = False


def recognise_positional(head: Head) -> Layout | None:
    """Return the layout of a file without a header, or None if no pattern matches."""
    lines = head.filled
    has_header = bool(lines) and ",".join(name.strip().lower() for name in lines[0][1].split(",")) == _TICK_HEADER
    rows = [(number, line.strip()) for number, line in lines[has_header:]]
    for form in _FORMS:
        if form.needs_day and head.midnight is None:
            continue
        found = next((number for number, line in rows if form.row.fullmatch(line)), None)
        if found is None:
            continue
        layout = form.layout
        if form.needs_day:
            layout = replace(layout, time=replace(layout.time, midnight=head.midnight))
        if layout.server and _HISTDATA_METATRADER.search(head.name):
            layout = replace(layout, name="HistData's MetaTrader", source="histdata", clock=EST_CLOCK, server=False)
        return replace(layout, first_row=lines[0][0] + 1) if has_header else layout
    return None


def _forms() -> Iterator[_Form]:
    eleven = rf"{_PRICE},{_PRICE},{_PRICE},{_PRICE},\d+,{_PRICE},{_PRICE},{_PRICE},{_PRICE},\d+"
    yield _Form(
        re.compile(rf"\d{{1,8}},{eleven}", re.ASCII),
        Layout("OANDA bars in Lean", "oanda", ",", 11, TimeColumns(0), _SIDES, clock=UTC_CLOCK, granularities=(Granularity.M1,)),
        needs_day=True,
    )
    yield _Form(
        re.compile(rf"\d{{1,8}},{_PRICE},{_PRICE}", re.ASCII),
        Layout("OANDA ticks in Lean", "oanda", ",", 3, TimeColumns(0), quotes=(1, 2), clock=UTC_CLOCK, whole_day=True),
        needs_day=True,
    )
    yield _Form(
        re.compile(rf"\d{{8}} \d\d:\d\d,{eleven}", re.ASCII),
        Layout(
            "OANDA bars in Lean", "oanda", ",", 11, TimeColumns(0), _SIDES, clock=UTC_CLOCK,
            granularities=(Granularity.H1, Granularity.D),
        ),
    )  # fmt: skip
    yield _Form(
        re.compile(rf"[A-Z]{{3}}/[A-Z]{{3}},\d{{8}} \d\d:\d\d:\d\d\.\d{{3}},{_PRICE},{_PRICE}", re.ASCII),
        Layout("TrueFX ticks", "truefx", ",", 4, TimeColumns(1), quotes=(2, 3), clock=UTC_CLOCK, pair=0),
    )
    yield _Form(
        re.compile(rf"\d{{4}}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[^,]*,{_PRICE},{_PRICE}", re.ASCII),
        Layout("TrueFX ticks", "truefx", ",", 3, TimeColumns(0), quotes=(1, 2), clock=UTC_CLOCK),
    )
    yield _Form(
        re.compile(rf"\d{{8}} \d{{6}};{_PRICE};{_PRICE};{_PRICE};{_PRICE};{_VOLUME}", re.ASCII),
        Layout(
            "HistData M1", "histdata", ";", 6, TimeColumns(0), {"mid": (1, 2, 3, 4)}, volume=5, clock=EST_CLOCK,
            granularities=(Granularity.M1,),
        ),
    )  # fmt: skip
    yield _Form(
        re.compile(rf"\d{{8}} \d{{9}},{_PRICE},{_PRICE},{_VOLUME}", re.ASCII),
        Layout("HistData ticks", "histdata", ",", 4, TimeColumns(0), quotes=(1, 2), clock=EST_CLOCK),
    )
    yield _Form(
        re.compile(rf"\d{{4}}\.\d\d\.\d\d,\d\d:\d\d,{_PRICE},{_PRICE},{_PRICE},{_PRICE},{_VOLUME}", re.ASCII),
        Layout("MetaTrader 4", "metatrader", ",", 7, TimeColumns(0, 1), {"mid": (2, 3, 4, 5)}, volume=6, server=True),
    )
    yield _Form(
        re.compile(rf"\d{{9,10}},{_PRICE},{_PRICE},{_PRICE},{_PRICE},{_VOLUME},\d+", re.ASCII),
        Layout("Kraken OHLCVT", "kraken", ",", 7, TimeColumns(0), {"mid": (1, 2, 3, 4)}, volume=6, clock=UTC_CLOCK),
    )


_FORMS = tuple(_forms())
