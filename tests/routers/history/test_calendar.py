"""Open hours and holidays of an interval."""

from datetime import date

from app.routers.history.calendar import TradingCalendar
from tests.routers.running import Query, Rest, assert_refused

PATH = "/api/v1/calendar"


async def test_a_week_with_christmas(api: Rest) -> None:
    body = (await api.get(PATH, start_time="2026-12-21", end_time="2026-12-28")).json()
    calendar = TradingCalendar.model_validate(body)
    assert [str(day.trading_day) for day in calendar.trading_days] == [
        "2026-12-21", "2026-12-22", "2026-12-23", "2026-12-24", "2026-12-28"
    ]  # fmt: skip
    assert calendar.holidays == [date(2026, 12, 25)]
    # 22 hours of the Monday, three whole days, and two hours of the next Monday on the evening of Sunday.
    assert calendar.open_hours == 22 + 3 * 24 + 2
    assert (calendar.trading_days[0].opens_at, calendar.trading_days[0].closes_at) == (
        "2026-12-20T22:00:00.000000Z", "2026-12-21T22:00:00.000000Z"
    )  # fmt: skip


async def test_the_day_on_which_clocks_change_keeps_its_turn(api: Rest) -> None:
    body = (await api.get(PATH, start_time="2026-03-06T12:00:00Z", end_time="2026-03-09T12:00:00Z")).json()
    assert [day["opens_at"] for day in body["trading_days"]] == ["2026-03-05T22:00:00.000000Z", "2026-03-08T21:00:00.000000Z"]


async def test_seven_days_from_now_by_default(api: Rest) -> None:
    body = (await api.get(PATH)).json()
    assert 4 <= body["count"] <= 6
    closed = (await api.get(PATH, end_time="2026-01-04", start_time="2026-01-03")).json()
    assert (closed["trading_days"], closed["open_hours"]) == ([], 0)


async def test_what_cannot_be_asked(api: Rest) -> None:
    wrong: list[tuple[dict[str, Query], str]] = [({"start_time": "0", "end_time": "2026-01-01"}, "end_time")]
    await assert_refused(api, PATH, [*wrong, ({"start_time": "x"}, "start_time")])
