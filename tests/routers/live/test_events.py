"""The log in pages: the ids and bytes of the streams, whatever is asked for."""

from collections.abc import Sequence
from typing import get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http.gateway import Limits
from app.realtime.contract.catalogue import PAYLOADS
from app.realtime.contract.event import ORIGIN, Draft, Event
from app.realtime.contract.heartbeat import GatewayHeartbeat, heartbeat
from app.routers.live import events as events_router
from app.routers.live.events import EventPage, LoggedEvent
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import alert, data_ready, tick
from tests.routers.running import Rest, application, assert_problem, rest, rest_for_examples, status_of


async def page(api: Rest, **query: str | int) -> EventPage:
    """A page of events, checked against its model."""
    response = await api.get("/api/v1/events", **query)
    assert response.status_code == 200, response.text
    return EventPage.model_validate(response.json())


async def pages(api: Rest, since: str | None = None, **query: str | int) -> list[EventPage]:
    """Every page to the end of the log."""
    found = [await page(api, **query, **({} if since is None else {"since": since}))]
    while found[-1].more:
        found.append(await page(api, **query, since=found[-1].next))
    return found


def ids(found: Sequence[EventPage]) -> list[str | None]:
    """The ids on some pages."""
    return [event.id for page in found for event in page.events]


async def entries(api: Rest) -> list[Event]:
    """What the log holds."""
    return await api.on.log.reader().read(5000)


async def test_a_cursor_has_the_names_that_it_has_on_streams(api: Rest) -> None:
    published = await api.on.publish(*(tick("EUR_USD") for _ in range(4)))
    named = ({"last_event_id": published[1]}, {"lastEventId": published[1]}, {"since": published[0], "lastEventId": published[1]})
    for names in named:
        assert ids([await page(api, **names)]) == published[2:]
    response = await api.client.get("/api/v1/events", headers={"Last-Event-ID": published[1]}, params={"since": published[3]})
    assert [event["id"] for event in response.json()["events"]] == published[2:]


async def test_events_carry_the_payload_bytes_of_the_log(api: Rest) -> None:
    # Spaces, another order of members and an accent: what is read and written anew would lose them.
    unusual = Draft(
        "data_ready", b'{ "message":"caf\xc3\xa9", "count": 3 ,"data_type":"prices","timestamp":"2026-01-31T09:30:00Z"}'
    )
    published = await api.on.publish(tick("EUR_USD"), alert("USD_JPY"), unusual)
    response = await api.get("/api/v1/events")
    rows = b",".join(
        b'{"id":"%s","type":"%s","data":%s}' % (event.id.encode(), event.type.encode(), event.payload)
        for event in await entries(api)
    )
    assert response.content == b'{"events":[%s],"next":"%s","more":false}' % (rows, published[-1].encode())


async def test_events_are_those_that_a_stream_carries(api: Rest) -> None:
    listener = api.on.listen("EUR_USD")
    await api.on.publish(tick("EUR_USD"), tick("USD_JPY", "150"), alert("EUR_USD"), data_ready(), tick("SEK_NOK"))
    found = (await api.get("/api/v1/events", pairs="EUR_USD")).json()["events"]
    assert [(event["type"], event["id"], event["data"]) for event in found] == listener.events


def test_every_event_that_clients_see_is_described() -> None:
    assert set(get_args(LoggedEvent.model_fields["data"].annotation)) == set(PAYLOADS.values())


async def test_without_pairs_or_with_a_star_all_tracked_pairs_are_meant(api: Rest) -> None:
    published = await api.on.publish(tick("EUR_USD"), tick("SEK_NOK"), tick("USD_JPY", "150"))
    assert ids([await page(api)]) == ids([await page(api, pairs="*")]) == [published[0], published[2]]


async def test_heartbeats_are_passed_over_and_yet_are_places_to_go_on_from(api: Rest) -> None:
    published = await api.on.publish(tick(), heartbeat(GatewayHeartbeat(node="n1")))
    found = await page(api)
    assert ids([found]) == published[:1]
    assert found.next == published[1]
    assert found.more is False
    assert await page(api, since=found.next) == EventPage(events=[], next=found.next, more=False)


async def test_an_empty_log(api: Rest) -> None:
    assert await page(api) == await page(api, since=ORIGIN) == EventPage(events=[], next=ORIGIN, more=False)


async def test_since_gives_exactly_what_follows(api: Rest) -> None:
    published = await api.on.publish(*(tick() for _ in range(5)))
    for place, id in enumerate(published):
        assert ids([await page(api, since=id)]) == published[place + 1 :]
    assert ids([await page(api, since=ORIGIN)]) == published


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
async def test_paging_with_filters_loses_and_repeats_nothing(api: Rest, limit: int) -> None:
    kinds = (tick("EUR_USD"), tick("USD_JPY", "150"), alert("EUR_USD"), alert("USD_JPY"), data_ready())
    published = await api.on.publish(*(kinds[n * n % len(kinds)] for n in range(60)))
    wanted = [event.id for event in await entries(api) if event.type != "price_update" and "USD_JPY" not in event.pairs]
    found = await pages(api, pairs="eur/usd , GBP_USD", types="volatility_alert, data_ready", limit=limit)
    assert ids(found) == wanted
    assert all(len(page.events) <= limit for page in found)
    assert found[-1].next == published[-1]


async def test_a_full_page_without_a_filter_knows_whether_more_follows(api: Rest) -> None:
    published = await api.on.publish(*(tick() for _ in range(3)))
    assert (await page(api, limit=2)).more is True
    assert (await page(api, since=published[1], limit=2)).more is False


async def test_one_request_looks_at_a_bounded_part_of_the_log_and_a_filter_does_not_stall(api: Rest) -> None:
    for _ in range(11):
        await api.on.publisher.publish([tick() for _ in range(1000)])
    [last] = await api.on.publish(alert())
    first = await page(api, types="volatility_alert")
    assert first.events == []
    assert first.more is True
    found = await pages(api, types="volatility_alert", since=first.next)
    assert ids(found) == [last]


async def test_what_cannot_be_read_is_passed_over(api: Rest) -> None:
    [first] = await api.on.publish(tick())
    for _ in range(600):
        await api.redis.xadd("fx:events", {"rubbish": "x"})
    found = await page(api, limit=10)
    assert ids([found]) == [first]
    assert found.next == first
    [last] = await api.on.publish(tick())
    assert ids(await pages(api, since=found.next, limit=10)) == [last]


# ---------------------------------------------------------------- what is lost


async def test_a_cursor_that_the_log_no_longer_holds_has_expired(valkey_url: str) -> None:
    async with rest(valkey_url) as api:
        published = await api.on.publish(*(tick() for _ in range(5)))
        await api.redis.xtrim("fx:events", maxlen=2, approximate=False)
    async with rest(valkey_url) as later:
        for expired in (*published[:3], ORIGIN, "1-1"):
            response = await later.get("/api/v1/events", since=expired)
            body = assert_problem(response, 410, "Cursor expired")
            assert expired in body["error"]
        assert ids([await page(later)]) == published[3:]
        assert ids([await page(later, since=published[3])]) == published[4:]


async def test_events_lost_after_the_cursor_are_a_gap(api: Rest) -> None:
    published = await api.on.publish(*(tick() for _ in range(5)))
    await api.redis.xtrim("fx:events", maxlen=2, approximate=False)
    found = await page(api, since=published[0])
    gap, *events = found.events
    assert (gap.id, gap.type) == (None, "gap")
    assert gap.data.model_dump(include={"after", "before", "missed"}) == {
        "after": published[0],
        "before": published[3],
        "missed": 2,
    }
    assert [event.id for event in events] == published[3:]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
@pytest.mark.parametrize("types", ["price_update", "volatility_alert", "gap"])
async def test_a_gap_comes_once_with_every_limit_and_filter(api: Rest, limit: int, types: str) -> None:
    published = await api.on.publish(tick(), alert(), tick(), alert(), tick("USD_JPY", "150"), alert("USD_JPY"), tick(), alert())
    # Holes before an event that the filters want, and before one that they do not.
    await api.redis.xdel("fx:events", published[2], published[5])
    found = await pages(api, types=types, pairs="EUR_USD", limit=limit)
    gaps = [event.data.model_dump() for page in found for event in page.events if event.type == "gap"]
    assert [gap["after"] for gap in gaps] == [published[1], published[4]]
    kind = {"price_update": (0, 6), "volatility_alert": (1, 3, 7), "gap": ()}[types]
    assert [id for id in ids(found) if id is not None] == [published[place] for place in kind]
    assert all(sum(event.id is not None for event in page.events) <= limit for page in found)


# ---------------------------------------------------------------- what cannot be answered


@pytest.mark.parametrize("since", ["", "x", "1764000000000", "-", "1-2-3", "1-x", f"{2**64}-0", "٣-٤"])
async def test_what_is_no_cursor(api: Rest, since: str) -> None:
    assert_problem(await api.get("/api/v1/events", since=since), 400, "Invalid cursor")


@pytest.mark.parametrize(
    ("query", "title", "named"),
    [
        ({"limit": 0}, "Invalid request", "limit: "),
        ({"limit": 1001}, "Invalid request", "limit: "),
        ({"limit": "many"}, "Invalid request", "limit: "),
        ({"pairs": ""}, "Invalid pair", ""),
        ({"pairs": "EUR_USD,"}, "Invalid pair", ""),
        ({"pairs": "EUR_USD,XXX_YYY"}, "Invalid pair", "XXX_YYY"),
        ({"types": ""}, "Invalid request", "price_update"),
        ({"types": "price_update,prices"}, "Invalid request", "prices"),
        ({"types": "heartbeat"}, "Invalid request", "heartbeat"),
    ],
)
async def test_values_that_cannot_be_used(api: Rest, query: dict[str, str | int], title: str, named: str) -> None:
    body = assert_problem(await api.get("/api/v1/events", **query), 400, title)
    assert named in body["error"]


async def test_without_redis(valkey: PrivateValkey) -> None:
    async with rest(valkey.url) as api:
        [id] = await api.on.publish(tick())
        valkey.kill()
        assert_problem(await api.get("/api/v1/events"), 503, "Log unavailable")
        assert_problem(await api.get("/api/v1/events", since=id), 503, "Log unavailable")
        assert_problem(await api.get("/api/v1/events", since="1-1"), 503, "Log unavailable")


async def test_a_redis_that_does_not_answer_is_not_waited_for(valkey: PrivateValkey) -> None:
    async with rest(valkey.url, limits=Limits(redis=1.0)) as api:
        valkey.pause()
        for path in ("/api/v1/events", "/api/v1/events?since=1-1", "/api/v1/cache/stats"):
            assert_problem(await api.client.get(path), 503, "Log unavailable", detail="Redis does not answer within 1 s")
        valkey.resume()


cursors = st.from_regex(r"\d{1,22}-\d{1,22}", fullmatch=True)
values = st.one_of(st.text(max_size=40), cursors, st.sampled_from(["*", "EUR_USD", "gap", "10", ORIGIN]))
queries = st.dictionaries(st.sampled_from(["since", "pairs", "types", "limit", "instrument"]), values)


@pytest.mark.usefixtures("untraced_test")
def test_no_query_is_an_internal_error(valkey_url: str) -> None:
    with rest_for_examples(valkey_url) as (api, run):

        @settings(max_examples=300)
        @given(query=queries)
        def check(query: dict[str, str]) -> None:
            assert run(api.get("/api/v1/events", **query)).status_code in (200, 400, 410, 422)
            assert run(api.get("/api/v1/prices/current", **query)).status_code in (200, 400, 404, 422)

        check()


def test_no_bytes_in_a_query_are_an_internal_error(valkey_url: str) -> None:
    with rest_for_examples(valkey_url) as (api, run):
        app = application(api.gateway)

        @settings(max_examples=300)
        @given(query=st.binary(max_size=60))
        def check(query: bytes) -> None:
            for path in ("/api/v1/events", "/api/v1/prices/current", "/nowhere"):
                assert run(status_of(app, path=path, query_string=query)) in (200, 400, 404, 410, 422)

        check()


async def test_a_file_has_every_event_up_to_the_end_of_the_log(api: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_router, "_MOST", 3)
    published = await api.on.publish(*(tick("EUR_USD") for _ in range(7)), alert("USD_JPY"))
    text = (await api.get("/api/v1/events", format="ndjson", types="price_update")).text
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert [line["id"] for line in lines] == published[:-1]
    assert lines[0]["data"]["instrument"] == "EUR_USD"
    csv = (await api.get("/api/v1/events", format="csv", since=published[4], limit=2)).text.splitlines()
    assert [line.split(",")[0] for line in csv] == ["id", *published[5:7]]
    assert_problem(await api.get("/api/v1/events", format="csv", since="1-1"), 410, "Cursor expired")
