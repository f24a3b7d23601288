import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import SourceError
from app.market.pair import CurrencyPair
from app.providers.replay.recording import Recording, Row
from tests.providers.bar_files.layout_files import CASES, write

_EURUSD = CurrencyPair("EUR", "USD")


def _zip(path: Path, *texts: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number}.csv", text)
    return path


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "pair", "count", "first", "last"),
    [
        (
            "oanda/tick/eurusd/20140504_quote.zip",
            "EUR_USD",
            1164,
            ("2014-05-04T21:00:00.462", "1.38817", "1.38884"),
            ("2014-05-04T23:59:48.314", "1.38710", "1.38727"),
        ),
        (
            "oanda/hour/eurusd.zip",
            "EUR_USD",
            74_439,
            ("2007-01-01T22:00:00", "1.31935", "1.32035"),
            ("2018-12-31T22:00:00", "1.14607", "1.14707"),
        ),
        (
            "oanda/minute/eurusd/20140505_quote.zip",
            "EUR_USD",
            1350,
            ("2014-05-05T00:01:00", "1.38711", "1.38726"),
            ("2014-05-06T00:00:00", "1.38741", "1.38755"),
        ),
        (
            "truefx/usdjpy-ticks.csv",
            "USD_JPY",
            1000,
            ("2013-01-01T22:00:00.295", "86.655", "86.728"),
            ("2013-01-01T22:35:13.494", "86.836", "86.854"),
        ),
    ],
)
def test_reads_real_files_to_the_last_row(
    fx_data: Path,
    name: str,
    pair: str,
    count: int,
    first: tuple[str, str, str],
    last: tuple[str, str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    recording = Recording(fx_data / name)
    rows = list(recording.rows())
    for row, (time, bid, ask) in ((recording.first, first), (rows[0], first), (rows[-1], last)):
        assert row.time == datetime.fromisoformat(time).replace(tzinfo=UTC)
        assert row.time.tzinfo is UTC
        assert row.pair == CurrencyPair.parse(pair)
        assert (str(row.bid), str(row.ask)) == (bid, ask)
    assert len(rows) == count
    assert caplog.text == ""


def test_reading_again_begins_anew(fx_data: Path) -> None:
    recording = Recording(fx_data / "truefx" / "usdjpy-ticks.csv")
    assert list(recording.rows()) == list(recording.rows())


def test_counts_malformed_rows_and_passes_over_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        "timestamp,bid,ask",
        "2013-13-01 22:00:00+00:00,86.655,86.728",
        "2013-01-01 22:00:00+00:00,86.655,86.728",
        "",
        "2013-01-01 22:00:01+00:00,86.655",
        "2013-01-01 22:00:02+00:00,NaN,86.728",
        "2013-01-01 22:00:03+00:00,86.655,1e3",
        "2013-02-30 22:00:04+00:00,86.655,86.728",
        "2013-01-01 22:00:05+00:00,８6.655,86.728",
        "2013-01-02 00:00:06+02:00,86.656,86.729",
    ]
    recording = Recording(_file(tmp_path / "usdjpy-ticks.csv", "\n".join(rows)))
    start = datetime(2013, 1, 1, 22, tzinfo=UTC)
    pair = CurrencyPair("USD", "JPY")
    for _ in range(2):
        assert list(recording.rows()) == [
            Row(start, pair, Decimal("86.655"), Decimal("86.728")),
            Row(start + timedelta(seconds=6), pair, Decimal("86.656"), Decimal("86.729")),
        ]
        [warning] = caplog.messages
        assert warning.endswith("usdjpy-ticks.csv: 7 rows could not be read and were passed over")
        caplog.clear()


@pytest.mark.parametrize("name", ["EUR_USD.csv", "eurusd.csv", "EURUSD-2014-05-05.csv"])
def test_the_pair_is_in_the_file_s_name(tmp_path: Path, name: str) -> None:
    path = _file(tmp_path / name, "2014-05-05 00:00:00,1.38710,1.38726\n")
    assert Recording(path).first == Row(datetime(2014, 5, 5, tzinfo=UTC), _EURUSD, Decimal("1.38710"), Decimal("1.38726"))


def test_the_pair_is_in_the_folder_s_name_and_the_day_in_the_file_s(tmp_path: Path) -> None:
    path = _zip(tmp_path / "eurusd" / "20140505_quote.zip", "23668,1.38710,1.38726\r\n")
    assert Recording(path).first == Row(
        datetime(2014, 5, 5, 0, 0, 23, 668_000, UTC), _EURUSD, Decimal("1.38710"), Decimal("1.38726")
    )


def test_the_folder_of_a_relative_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _zip(tmp_path / "eurusd" / "20140505_quote.zip", "23668,1.38710,1.38726")
    monkeypatch.chdir(tmp_path / "eurusd")
    assert Recording(Path("20140505_quote.zip")).first.pair == _EURUSD


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.zip"
    with pytest.raises(SourceError) as caught:
        Recording(path)
    assert str(caught.value) == f"{path} cannot be read: No such file or directory"


def test_a_name_without_a_pair_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "rows.csv", "2014-05-05 00:00:00,1.38710,1.38726\n")
    with pytest.raises(SourceError) as caught:
        Recording(path)
    assert str(caught.value) == f"{path} cannot be replayed: neither its name nor its folder's names a pair"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eurusd.csv", ""),
        ("eurusd.csv", "time;rate;size\n1;2;3\n"),
        ("eurusd.csv", "23668,1.38710,1.38726\n"),
        ("eurusd.csv", "nothing\n" * 20 + "2014-05-05 00:00:00,1.38710,1.38726\n"),
        ("eurusd.csv", "2012-02-01 00:00:00+00:00,1.57597,1.57606,1.57576,1.57576\n"),
    ],
    ids=["empty", "no bid and ask", "ticks without a day", "rows far below", "bars without bid and ask"],
)
def test_rows_of_no_known_form_are_refused(tmp_path: Path, name: str, text: str) -> None:
    path = _file(tmp_path / name, text)
    with pytest.raises(SourceError, match="cannot be replayed: its rows are neither") as caught:
        Recording(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("layout", [name for name, case in CASES.items() if "ticks" in name or "TrueFX" in name])
def test_ticks_of_every_layout_are_played(tmp_path: Path, layout: str) -> None:
    case = CASES[layout]
    rows = list(Recording(write(tmp_path, case)).rows())
    assert len(rows) == case.volume + 1, "one tick is in the next minute"
    assert rows[0] == Row(
        datetime.fromisoformat(case.first) + timedelta(milliseconds=250), _EURUSD, Decimal("1.30660"), Decimal("1.30672")
    )
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert (rows[-1].bid, rows[-1].ask) == (Decimal("1.3"), Decimal("1.4"))


def test_the_first_row_of_which_none_can_be_read_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path / "eurusd.csv", "time;bid;ask\n1;2;3\n")
    with pytest.raises(SourceError) as caught:
        Recording(path)
    reason = "none of its first rows can be read: line 2, column 1 (time): not a time: '1;2;3'"
    assert str(caught.value) == f"{path} cannot be replayed: {reason}"


def test_other_files_are_refused(fx_data: Path) -> None:
    with pytest.raises(SourceError, match="bid-2012"):
        Recording(fx_data / "fxcm" / "gbpusd-m1-bid-2012.csv.gz")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        Recording(tmp_path)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"eurusd\.zip cannot be read: File is not a zip file"):
        Recording(_file(tmp_path / "eurusd.zip", "2014-05-05 00:00:00,1.38710,1.38726\n"))


@pytest.mark.parametrize("texts", [[], ["a", "b"]], ids=["none", "two"])
def test_a_zip_holds_one_file(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(SourceError, match=rf"it holds {len(texts)} files, not one"):
        Recording(_zip(tmp_path / "eurusd.zip", *texts))


def test_a_zip_under_a_password_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "eurusd.zip", "2014-05-05 00:00:00,1.38710,1.38726\n")
    packed = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags] |= 1
    path.write_bytes(packed)
    with pytest.raises(SourceError, match="password required"):
        Recording(path)


def test_damage_found_on_the_way_ends_the_rows(tmp_path: Path, fx_data: Path) -> None:
    packed = bytearray((fx_data / "oanda" / "hour" / "eurusd.zip").read_bytes())
    middle = len(packed) // 2
    packed[middle : middle + 1000] = bytes(1000)
    path = tmp_path / "eurusd.zip"
    path.write_bytes(packed)
    recording = Recording(path)
    seen = 0
    with pytest.raises(SourceError, match="cannot be read"):  # noqa: PT012 - rows come before the error
        for _ in recording.rows():
            seen += 1
    assert seen > 1000


def test_a_file_is_opened_when_its_turn_comes(tmp_path: Path) -> None:
    path = _file(tmp_path / "eurusd.csv", "2014-05-05 00:00:00,1.38710,1.38726\n" * 2)
    recording = Recording(path)
    path.unlink()
    rows = recording.rows()
    assert next(rows) == recording.first
    with pytest.raises(SourceError, match="No such file"):
        next(rows)
