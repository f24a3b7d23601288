import pytest

from app.market.clock import parse_time
from app.realtime.contract.event import Draft, Event, cursor_at
from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat
from jobs.running.feed_time import RecordedTime, is_heartbeat_of_feed, is_set_back, moment_of


def _beats(*moments: str) -> list[str]:
    """The times of the heartbeats before each quote of 6 May 2014 and after the last; with a + where a stretch begins."""
    clock = RecordedTime()
    beats = [beat for moment in moments for beat in clock.advance(parse_time(f"2014-05-{moment}Z"))]
    return [f"{beat.time:%dT%H:%M:%S}{'+' * beat.begins}" for beat in [*beats, *clock.end()]]


@pytest.mark.parametrize(
    ("moments", "beats"),
    [
        ([], []),
        (["06T10:20:30"], ["06T09:00:00+", "06T12:02:00"]),
        (["06T10:20:30", "06T10:20:59", "06T10:21:00", "06T10:20:58", "06T10:22:07"],
         ["06T09:00:00+", "06T10:21:00", "06T10:22:07", "06T12:02:00"]),
        (["06T10:20:30", "06T12:40:00"], ["06T09:00:00+", "06T12:40:00", "06T14:02:00"]),
        (["06T10:20:30", "06T13:00:00"], ["06T09:00:00+", "06T12:02:00", "06T11:00:00", "06T12:00:00+", "06T15:02:00"]),
        (["09T20:59:59", "11T21:00:03"], ["09T19:00:00+", "11T21:00:03", "11T23:02:00"]),
    ],
    ids=["none", "one", "minutes", "a quiet hour", "a hole of two hours", "a weekend"],
)  # fmt: skip
def test_a_recording_beats_each_minute_and_takes_its_hours_for_whole(moments: list[str], beats: list[str]) -> None:
    assert _beats(*moments) == beats


def _event(draft: Draft, written: str = "2026-01-14T10:00:00Z") -> Event:
    return Event.from_entry(f"{cursor_at(parse_time(written))[:-1]}1", 1, draft.type, draft.data)


def test_the_clock_of_a_feed_is_set_back_where_a_recording_begins_again_not_where_the_next_day_follows() -> None:
    ran_on_to = parse_time("2014-05-06T01:02:00Z")

    def of(time: str, node: str = "new") -> Event:
        return _event(heartbeat(FeedHeartbeat(node=node, source="replay", simulated=False), parse_time(time)))

    assert is_set_back(of("2014-05-04T23:00:00Z"), "old", ran_on_to)
    assert not is_set_back(of("2014-05-05T23:00:00Z"), "old", ran_on_to)
    assert not is_set_back(of("2014-05-04T23:00:00Z", "old"), "old", ran_on_to)
    assert not is_set_back(of("2014-05-04T23:00:00Z"), None, None)
    recorder = _event(heartbeat(RecorderHeartbeat(node="new"), parse_time("2014-05-04T23:00:00Z")))
    assert not is_heartbeat_of_feed(recorder)
    assert not is_set_back(recorder, "old", ran_on_to)


def test_no_event_is_later_than_the_log_says() -> None:
    forged = heartbeat(FeedHeartbeat(node="new", source="replay", simulated=False), parse_time("2999-01-01T00:00:00Z"))
    assert moment_of(_event(forged)) == parse_time("2026-01-14T10:00:00Z")
