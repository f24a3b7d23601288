"""The examples that run in a terminal, against a gateway."""

import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from app.realtime.log.log import Publisher, open_redis
from tests.examples.news import correlation, data_ready, mid, price, volatility
from tests.examples.programs import run
from tests.gateways import gateway

Command = tuple[str | Path, ...]


@pytest.fixture(params=["node-client.mjs", "python_client.py", "websocket_client.py"])
def client(request: pytest.FixtureRequest, examples: Path, node: Path) -> Command:
    """Each of the clients that print what they get."""
    script = examples / request.param
    return (node if script.suffix == ".mjs" else sys.executable, script)


@pytest.fixture
def bot(examples: Path, node: Path) -> Command:
    """The trading bot."""
    return (node, examples / "trading-bot.mjs")


async def test_a_client_prints_prices_alerts_and_news(
    client: Command, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    await publisher.publish([price("EUR_USD", 1)])
    async with gateway(valkey_url, tmp_path) as running, run(*client, running.url) as program:
        await program.prints("Subscribed to 2 pairs")
        await publisher.publish(
            [
                price("USD_JPY", 2),
                price("GBP_USD", 3, source="simulated"),
                volatility("EUR_USD"),
                volatility("USD_JPY"),
                correlation("USD_JPY", "GBP_USD"),
                data_ready(20),
            ]
        )
        await program.until(lambda lines: len(_news(lines)) >= 6, "six lines")
        # The client in Python handles each event on a thread of its own, so lines may overtake each other.
        assert sorted(_news(program.lines)) == sorted(
            [
                "Subscribed to 2 pairs",
                f"EUR_USD: {mid('EUR_USD', 1)}",
                f"GBP_USD: {mid('GBP_USD', 3)} (simulated)",
                "warning: EUR_USD: Volatility (0.0234) exceeded threshold (0.02)",
                "info: Correlation USD_JPY <-> GBP_USD: -0.82",
                "prices data updated (20 records)",
            ]
        )


async def test_a_client_goes_on_where_it_stopped(
    client: Command, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    async with run(*client, f"http://127.0.0.1:{port}", "EUR_USD") as program:
        await program.prints("Not connected: ")
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("Subscribed to 1 pairs")
            await publisher.publish([price("EUR_USD", number) for number in range(10)])
            await program.prints("EUR_USD: ", times=10)
        await program.prints("Disconnected: ")
        await publisher.publish([volatility("EUR_USD"), *(price("EUR_USD", number) for number in range(10, 200))])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("Subscribed to 1 pairs", times=2)
            await publisher.publish([price("EUR_USD", 200)])
            await program.prints(f"EUR_USD: {mid('EUR_USD', 200)}")
            await program.prints("EUR_USD: ", times=201)
            assert _prices(program.lines, client) == [f"EUR_USD: {mid('EUR_USD', number)}" for number in range(201)]
            assert sum(line.startswith("warning: ") for line in program.lines) == 1
            assert not any("no longer kept" in line for line in program.lines)


async def test_a_client_says_when_what_it_missed_is_lost(
    client: Command, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    async with run(*client, f"http://127.0.0.1:{port}") as program:
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("Subscribed to 2 pairs")
            await publisher.publish([price("EUR_USD", 1)])
            await program.prints("EUR_USD: ")
        await program.prints("Disconnected: ")
        async with open_redis(valkey_url) as redis:
            await redis.delete("fx:events")
        await publisher.publish([price("EUR_USD", 2), price("EUR_USD", 3)])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("The missed events are no longer kept; the newest prices follow")
            await program.prints(f"EUR_USD: {mid('EUR_USD', 3)}")
            assert f"EUR_USD: {mid('EUR_USD', 2)}" not in program.lines


async def test_a_client_says_when_events_are_lost_under_way(
    client: Command, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, run(*client, running.url) as program:
        await program.prints("Subscribed to 2 pairs")
        await publisher.publish([price("EUR_USD", 1)])
        await program.prints("EUR_USD: ")
        await _lose_events(valkey_url, 3)
        await publisher.publish([price("EUR_USD", 2)])
        await program.prints("Gap: 3 events were lost")


async def test_a_client_says_why_it_is_refused_and_comes_back(client: Command, valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, websocket_max_clients=1) as running,
        httpx.AsyncClient(base_url=running.url) as other,
    ):
        async with other.stream("GET", "/stream/EUR_USD"), run(*client, running.url) as program:
            await program.prints("Not connected: Max clients reached: this gateway serves 1 at once")
            # A second time: the client has asked again.
            await program.prints("Not connected: Max clients reached", times=2)
            assert not any(line.startswith("Subscribed") for line in program.lines)
        async with run(*client, running.url) as program:
            await program.prints("Subscribed to 2 pairs")


async def test_a_client_says_what_is_wrong_with_its_subscription(client: Command, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, run(*client, running.url, "EUR_USD", "EUR_EUR") as program:
        await program.prints("Error: Invalid instrument: EUR_EUR (")


async def test_a_client_ends_with_ctrl_c_and_no_complaint(client: Command, valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running, run(*client, running.url) as program:
        await program.prints("Subscribed to 2 pairs")
        assert await program.interrupt() in (0, -2)
        assert all(line.startswith(("Connected", "Subscribed", "Disconnected")) for line in program.lines)


async def test_the_bot_evaluates_every_price_and_acts_on_alerts(
    bot: Command, publisher: Publisher, valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, run(*bot, running.url) as program:
        await program.prints("Bot connected")
        await publisher.publish([price("EUR_USD", 1), price("USD_JPY", 2, source="simulated")])
        await publisher.publish([volatility("EUR_USD", "critical"), volatility("GBP_USD", "warning")])
        await publisher.publish([correlation("EUR_USD", "USD_CHF", -0.82), correlation("EUR_USD", "GBP_USD", 0.9)])
        await _lose_events(valkey_url, 2)
        await publisher.publish([price("NZD_USD", 4)])
        await program.prints("Evaluating trade for NZD_USD")
        assert program.lines == [
            "Bot connected",
            f"Evaluating trade for EUR_USD at {mid('EUR_USD', 1)}",
            f"Evaluating trade for USD_JPY at {mid('USD_JPY', 2)} (simulated, for practice only)",
            "Executing risk management for EUR_USD at volatility 0.0234",
            "Evaluating hedge: EUR_USD <-> USD_CHF (-0.82)",
            "Strong negative correlation: a good hedge opportunity",
            "Evaluating hedge: EUR_USD <-> GBP_USD (0.9)",
            "Discarding earlier prices: 2 events were lost",
            f"Evaluating trade for NZD_USD at {mid('NZD_USD', 4)}",
        ]


async def test_the_bot_comes_back_to_every_alert_and_only_the_newest_prices(
    bot: Command, publisher: Publisher, valkey_url: str, port: int, tmp_path: Path
) -> None:
    async with run(*bot, f"http://127.0.0.1:{port}") as program:
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("Bot connected")
            await publisher.publish([price("EUR_USD", 1)])
            await program.prints("Evaluating trade for EUR_USD")
        await program.prints("Discarding earlier prices: transport")
        missed = [volatility("EUR_USD", "critical"), volatility("GBP_USD", "critical")]
        await publisher.publish([*missed, *(price("EUR_USD", number) for number in range(2, 20))])
        async with gateway(valkey_url, tmp_path, websocket_port=port):
            await program.prints("Bot connected", times=2)
            await program.prints("Evaluating trade for EUR_USD", times=2)
            await publisher.publish([correlation("EUR_USD", "USD_CHF")])
            await program.prints("Evaluating hedge")
            back = program.lines.index("Bot connected", program.lines.index("Bot connected") + 1)
            assert program.lines[back + 1 : back + 4] == [
                "Executing risk management for EUR_USD at volatility 0.0234",
                "Executing risk management for GBP_USD at volatility 0.0234",
                f"Evaluating trade for EUR_USD at {mid('EUR_USD', 19)}",
            ]


async def test_the_bot_says_why_it_is_refused_and_comes_back(bot: Command, valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, websocket_max_clients=1) as running,
        httpx.AsyncClient(base_url=running.url) as other,
        other.stream("GET", "/stream/EUR_USD"),
        run(*bot, running.url) as program,
    ):
        await program.prints("Discarding earlier prices: Max clients reached: this gateway serves 1 at once", times=2)


async def _lose_events(valkey_url: str, number: int) -> None:
    """Take numbers without writing events, as a Redis does that has lost some."""
    async with open_redis(valkey_url) as redis:
        await redis.incrby("fx:seq", number)


def _news(lines: Sequence[str]) -> list[str]:
    """What was printed, without the greeting of a Socket.IO client."""
    return [line for line in lines if not line.startswith("Connected with ID: ")]


def _prices(lines: Sequence[str], client: Command) -> list[str]:
    """The prices in the order they were printed; the Python client does not keep an order."""
    printed = [line for line in lines if line.startswith("EUR_USD: ")]
    return sorted(printed) if client[0] == sys.executable else printed
