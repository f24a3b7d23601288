"""Socket.IO with the stock client: every documented event, its answer and its error, over every transport."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from pydantic import BaseModel

from app.market.clock import parse_time
from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.answers import (
    AllPricesResponse,
    ConnectionEstablished,
    Pong,
    PriceResponse,
    Problem,
    ServerStats,
    SubscriptionConfirmed,
    SubscriptionsInfo,
    UnsubscriptionConfirmed,
)
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import TRACKED, alert, data_ready, tick
from tests.realtime.socket_clients import POLLING, UPGRADE, WEBSOCKET, StockClient, raw_socket, stock_client
from tests.waiting import wait_until

from app.realtime.contract.publication import publication  # isort: skip


class On(NamedTuple):
    """A gateway, a publisher to its log, and a stock client of it."""

    running: RunningGateway
    publisher: Publisher
    client: StockClient


@pytest_asyncio.fixture(params=[WEBSOCKET, POLLING, UPGRADE], ids=["websocket", "polling", "upgrade"])
async def on(request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """A gateway whose log holds the prices of two pairs, and a client that is connected by one of the transports."""
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        [_, id] = await publisher.publish([tick("EUR_USD"), tick("USD_JPY", "150.1")])
        await wait_until(lambda: running.hub.cursor == id, "the hub has the prices")
        async with stock_client(running.url, request.param) as client:
            yield On(running, publisher, client)


def correlation(pair1: str = "EUR_USD", pair2: str = "USD_JPY") -> Any:
    """A correlation alert on its way to the log."""
    return publication("correlation_alert", {"pair1": pair1, "pair2": pair2, "correlation": -0.82, "threshold": 0.7}, TRACKED)


async def test_the_client_is_greeted_first_with_what_there_is(on: On) -> None:
    assert on.client.names == ["connection_established"]
    greeting = ConnectionEstablished.model_validate(on.client.bodies("connection_established")[0])
    assert greeting.message == "Connected to FX Data Pipeline WebSocket Server"
    assert greeting.client_id == on.client.client.get_sid()
    assert greeting.tracked_pairs == list(DEFAULT_PAIRS)
    assert (greeting.pair_count, greeting.max_clients, greeting.active_clients) == (20, 1000, 1)
    assert parse_time(greeting.timestamp)


ANSWERED: list[tuple[str, object, str, type[BaseModel]]] = [
    ("subscribe", {"pairs": ["EUR_USD"]}, "subscription_confirmed", SubscriptionConfirmed),
    ("subscribe", {"pairs": "*", "snapshot": False, "max_hz": 5, "since": None}, "subscription_confirmed", SubscriptionConfirmed),
    ("unsubscribe", {"pairs": ["EUR_USD"]}, "unsubscription_confirmed", UnsubscriptionConfirmed),
    ("unsubscribe", {"pairs": "*"}, "unsubscription_confirmed", UnsubscriptionConfirmed),
    ("get_subscriptions", None, "subscriptions_info", SubscriptionsInfo),
    ("request_price", {"instrument": "EUR_USD"}, "price_response", PriceResponse),
    ("request_all_prices", None, "all_prices_response", AllPricesResponse),
    ("get_server_stats", None, "server_stats", ServerStats),
    ("ping", None, "pong", Pong),
]


async def test_every_event_is_answered_by_an_event_and_by_an_acknowledgement_with_the_same_body(on: On) -> None:
    for event, body, answer, model in ANSWERED:
        arguments = () if body is None else (body,)
        acknowledged = await on.client.call(event, *arguments)
        assert acknowledged == await on.client.next(answer), event
        assert model.model_validate(acknowledged)
        assert model.model_validate(await on.client.ask(event, answer, *arguments))


async def test_what_the_answers_say_is_what_the_document_shows(on: On) -> None:
    ask = on.client.ask
    confirmed = await ask("subscribe", "subscription_confirmed", {"pairs": ["USD_JPY", "EUR_USD"]})
    assert confirmed["pairs"] == ["EUR_USD", "USD_JPY"]
    assert (confirmed["pair_count"], confirmed["subscribed_to_all"], confirmed["recovered"]) == (2, False, None)
    assert confirmed["cursor"] == on.running.hub.cursor

    info = await ask("get_subscriptions", "subscriptions_info")
    assert (info["subscribed_pairs"], info["pair_count"], info["subscribed_to_all"]) == (["EUR_USD", "USD_JPY"], 2, False)

    price = await ask("request_price", "price_response", {"instrument": "usd/jpy"})
    assert price["instrument"] == "USD_JPY"
    assert price["price"].items() >= {"bid": "150.100", "ask": "150.101", "mid": "150.1005"}.items()
    assert (price["source"], price["stale"], price["id"]) == ("replay", False, on.running.hub.cursor)
    assert price["age_ms"] >= 0

    prices = await ask("request_all_prices", "all_prices_response")
    assert (list(prices["prices"]), prices["pair_count"]) == (["EUR_USD", "USD_JPY"], 2)
    assert prices["prices"]["EUR_USD"]["bid"] == "1.10000"

    stats = await ask("get_server_stats", "server_stats")
    assert (stats["active_clients"], stats["max_clients"], stats["tracked_pairs"]) == (1, 1000, 20)
    assert (stats["total_subscriptions"], stats["average_subs_per_client"]) == (2, 2.0)
    assert stats["cache"]["redis"]["connected"] is True
    assert stats["cache"]["keys"]["price_keys"] == 2

    left = await ask("unsubscribe", "unsubscription_confirmed", {"pairs": ["EUR_USD", "GBP_USD"]})
    assert (left["pairs"], left["message"]) == (["EUR_USD"], "Unsubscribed from 1 pairs")

    pong = await ask("ping", "pong")
    assert pong["cursor"] == on.running.hub.cursor
    assert parse_time(pong["timestamp"])


ERRORS: list[tuple[str, object, str, str]] = [
    ("subscribe", None, "subscription_error", "'pairs' is needed"),
    ("subscribe", "EUR_USD", "subscription_error", "'pairs' is needed"),
    ("subscribe", ["EUR_USD"], "subscription_error", "'pairs' is needed"),
    ("subscribe", {}, "subscription_error", "pairs: Field required"),
    ("subscribe", {"pairs": 5}, "subscription_error", "pairs.list[str]: Input should be a valid list"),
    ("subscribe", {"pairs": "EUR_USD"}, "subscription_error", "valid list"),
    ("subscribe", {"pairs": ["XXX_YYY"]}, "subscription_error", "Invalid instrument: XXX_YYY"),
    ("subscribe", {"pairs": ["EUR_USD", 5]}, "subscription_error", "pairs.list[str].1: Input should be a valid string"),
    ("subscribe", {"pairs": ["EUR_USD"] * 1001}, "subscription_error", "more than 1000"),
    ("subscribe", {"pairs": [], "since": "yesterday"}, "subscription_error", "Invalid cursor"),
    ("subscribe", {"pairs": [], "since": 17}, "subscription_error", "since: Input should be a valid string"),
    ("subscribe", {"pairs": [], "max_hz": 0}, "subscription_error", "max_hz: Input should be greater than 0"),
    ("subscribe", {"pairs": [], "max_hz": 1001}, "subscription_error", "max_hz"),
    ("subscribe", {"pairs": [], "max_hz": "5"}, "subscription_error", "max_hz"),
    ("subscribe", {"pairs": [], "snapshot": "yes"}, "subscription_error", "snapshot: Input should be a valid boolean"),
    ("unsubscribe", None, "unsubscription_error", "'pairs' is needed"),
    ("unsubscribe", {"pairs": ["INVALID_USD"]}, "unsubscription_error", "Invalid instrument: INVALID_USD"),
    ("unsubscribe", {"pairs": {}}, "unsubscription_error", "pairs"),
    ("request_price", None, "price_error", "'instrument' is needed"),
    ("request_price", {"instrument": None}, "price_error", "instrument: Input should be a valid string"),
    ("request_price", {"instrument": "XXX_YYY"}, "price_error", "Invalid instrument: XXX_YYY"),
    ("request_price", {"instrument": "GBP_USD"}, "price_error", "No cached price for GBP_USD"),
    ("make_coffee", None, "server_error", "Unknown event: make_coffee"),
    ("x" * 10_000, {}, "server_error", f"Unknown event: {'x' * 40}"),
]


async def test_every_error_is_the_documented_event_and_the_same_acknowledgement(on: On) -> None:
    for event, body, error_event, text in ERRORS:
        arguments = () if body is None else (body,)
        acknowledged = await on.client.call(event, *arguments)
        assert acknowledged == await on.client.next(error_event), (event, body)
        problem = Problem.model_validate(acknowledged)
        assert text in problem.error, (event, body)
        assert len(problem.error) < 200
        assert problem.message
        assert await on.client.ask(event, error_event, *arguments) == acknowledged
    assert (await on.client.call("get_subscriptions"))["subscribed_pairs"] == []


async def test_a_price_that_is_not_there_yet_comes_with_the_documented_hint(on: On) -> None:
    problem = await on.client.call("request_price", {"instrument": "GBP_USD"})
    assert problem == {"error": "No cached price for GBP_USD", "message": "Run hourly cron job to populate prices"}


async def test_every_event_of_the_log_comes_with_its_id_and_as_it_was_published(on: On) -> None:
    await on.client.call("subscribe", {"pairs": ["EUR_USD"], "snapshot": False})
    drafts = [tick("EUR_USD", "1.2"), alert("EUR_USD"), correlation(), data_ready(7), tick("USD_JPY", "151"), alert("USD_JPY")]
    ids = await on.publisher.publish(drafts)
    await on.client.next("data_ready")
    assert await on.client.call("ping")
    names = ["price_update", "volatility_alert", "correlation_alert", "data_ready"]
    assert [name for name in on.client.names if name in names] == names
    assert on.client.ids == ids[:4]
    price, volatility, correlated, ready = on.client.bodies(*names)
    assert price["price"].items() >= {"bid": "1.20000", "ask": "1.20100", "mid": "1.20050"}.items()
    assert price.keys() == {"id", "instrument", "price", "source", "timestamp"}
    assert (volatility["instrument"], volatility["severity"]) == ("EUR_USD", "warning")
    assert volatility["message"] == "Volatility (0.03) exceeded threshold (0.02)"
    assert (correlated["pair1"], correlated["pair2"], correlated["correlation"]) == ("EUR_USD", "USD_JPY", -0.82)
    assert ready.items() >= {"data_type": "prices", "count": 7, "message": "prices data updated (7 records)"}.items()


async def test_a_correlation_alert_comes_once_to_a_client_of_both_pairs_and_to_one_of_either(on: On) -> None:
    await on.client.call("subscribe", {"pairs": ["EUR_USD", "USD_JPY"], "snapshot": False})
    async with stock_client(on.running.url) as other:
        await other.call("subscribe", {"pairs": ["USD_JPY"], "snapshot": False})
        [first, _, third] = await on.publisher.publish([correlation(), correlation("EUR_USD", "GBP_USD"), correlation()])
        await wait_until(lambda: len(other.ids) == 2, "the client of one pair has its alerts")
        assert other.ids == [first, third]
    await wait_until(lambda: on.client.ids[-1:] == [third], "the client of both pairs has its alerts")
    assert len(on.client.ids) == 3


async def test_news_for_everyone_reaches_those_who_never_subscribed_without_an_id(on: On) -> None:
    async with stock_client(on.running.url) as subscribed:
        await subscribed.call("subscribe", {"pairs": ["GBP_USD"]})
        [id] = await on.publisher.publish([data_ready(3)])
        assert (await subscribed.next("data_ready"))["id"] == id
        body = await on.client.next("data_ready")
        assert body["count"] == 3
        assert "id" not in body


async def test_answers_keep_the_order_of_the_questions(on: On) -> None:
    for _ in range(5):
        await on.client.emit("ping")
        await on.client.emit("subscribe", {"pairs": ["EUR_USD"]})
        await on.client.emit("get_subscriptions")
        await on.client.emit("request_price", {"instrument": "EUR_USD"})
    await wait_until(lambda: len(on.client.bodies("price_response")) == 5, "everything is answered")
    answers = [name for name in on.client.names if name not in ("connection_established", "price_update")]
    assert answers == ["pong", "subscription_confirmed", "subscriptions_info", "price_response"] * 5
    assert on.client.names.index("subscription_confirmed") < on.client.names.index("price_update")
    assert len(on.client.bodies("price_update")) == 1


async def test_more_than_one_argument_does_not_confuse_the_gateway(on: On) -> None:
    confirmed = await on.client.call("subscribe", ({"pairs": ["EUR_USD"]}, {"pairs": "*"}, 3))
    assert confirmed["pairs"] == ["EUR_USD"]


async def test_who_asks_for_no_acknowledgement_gets_none(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, raw_socket(running.url, joined=True) as socket:
        await socket.send('42["get_subscriptions"]', '42["nothing"]', '427["get_subscriptions"]', '428["nothing"]')
        packets = await socket.answers()
        assert [packet.partition("[")[0] for packet in packets] == ["42", "42", "42", "437", "42", "438"]
        assert packets[2].removeprefix('42["subscriptions_info",') == packets[3].removeprefix("437[")
        assert packets[4].removeprefix('42["server_error",') == packets[5].removeprefix("438[")
