"""Every operation by the client of openapi-python-client: prints what was asked and how it was answered, as JSON."""

import json
import os
from importlib import import_module
from typing import Any, TypeVar

import httpx
from fx_gateway_client import AuthenticatedClient, models
from fx_gateway_client.api.admin import get_admin_state
from fx_gateway_client.api.alerts import (
    delete_price_level,
    get_alerts,
    get_price_level,
    get_price_levels,
    set_price_level,
)
from fx_gateway_client.api.candles import get_candles, get_candles_of_pairs
from fx_gateway_client.api.correlation import (
    get_best_pairs,
    get_correlation_matrix,
    get_pair_correlation,
    get_rolling_correlation,
)
from fx_gateway_client.api.events import get_events, publish_events
from fx_gateway_client.api.health import get_health, get_liveness, get_readiness
from fx_gateway_client.api.jobs import get_jobs
from fx_gateway_client.api.metrics import get_all_volatility, get_metrics_history, get_volatility
from fx_gateway_client.api.prices import get_all_prices, get_current_price
from fx_gateway_client.api.sessions import get_calendar, get_sessions
from fx_gateway_client.api.streams import stream_pair, stream_pairs
from fx_gateway_client.api.ticks import get_ticks
from fx_gateway_client.types import Response

T = TypeVar("T")

_NOWHERE = "0" * 32


def main() -> None:
    """Call every operation, and refuse an answer that is not of its type."""
    url, token = os.environ["GATEWAY_URL"], os.environ["GATEWAY_TOKEN"]
    asked: list[tuple[str, str, int, str]] = []

    def note(response: httpx.Response) -> None:
        request = response.request
        asked.append((request.method, request.url.path, response.status_code, response.headers.get("content-type", "")))

    noting = {"event_hooks": {"response": [note]}}
    with AuthenticatedClient(base_url=url, token=token, httpx_args=noting) as client:
        _ask_for_the_market(client)
        _ask_for_figures(client)
        _set_levels(client)
        _publish(client)
        _follow(client)
        _ask_for_the_gateway(client)
        _ask_for_the_rest(client)
    with AuthenticatedClient(base_url=url, token="not a token that is known", httpx_args=noting) as stranger:
        _refused(publish_events.sync_detailed(client=stranger, body=_news()), 401, "unauthorized")
        _refused(get_admin_state.sync_detailed(client=stranger), 401, "unauthorized")
    names = ("method", "path", "status", "type")
    print(json.dumps([dict(zip(names, each, strict=True)) for each in asked]))


def _ask_for_the_market(client: AuthenticatedClient) -> None:
    everything = _told(models.AllPricesResponse, get_all_prices.sync_detailed(client=client))
    assert everything.pair_count == 4
    assert everything.prices["EUR_USD"].bid == "1.10000"
    price = _told(models.PriceResponse, get_current_price.sync_detailed(client=client, instrument="EUR_USD"))
    assert price.price.ask == "1.20000"
    _refused(get_current_price.sync_detailed(client=client, instrument="XXX_YYY"), 400, "invalid-pair")
    bars = _told(models.Bars, get_candles.sync_detailed("EUR_USD", client=client, granularity=models.Granularity.H1, limit=3))
    assert bars.count == len(bars.candles) == 3
    assert isinstance(bars.candles[0].mid, models.BarPrices)
    _refused(get_candles.sync_detailed("EUR_USD", client=client, limit=0), 400, "invalid-request")
    several = _told(models.BarsOfPairs, get_candles_of_pairs.sync_detailed(client=client, pairs="EUR_USD,GBP_USD", limit=2))
    assert [each.count for each in several.pairs] == [2, 2]
    _refused(get_candles_of_pairs.sync_detailed(client=client, pairs="XXX_YYY"), 400, "invalid-pair")
    ticks = _told(models.StoredTicks, get_ticks.sync_detailed(client=client, pairs="*", limit=2))
    assert all(float(tick.spread) == 0.1 for tick in ticks.ticks)
    _refused(get_ticks.sync_detailed(client=client, pairs="*", since="soon"), 400, "invalid-cursor")
    assert _told(models.TradingCalendar, get_calendar.sync_detailed(client=client)).trading_days
    _refused(get_calendar.sync_detailed(client=client, start_time="x"), 400, "invalid-request")
    assert _told(models.Sessions, get_sessions.sync_detailed(client=client)).sessions


def _ask_for_figures(client: AuthenticatedClient) -> None:
    assert _told(models.MetricsOfPair, get_volatility.sync_detailed("EUR_USD", client=client)).instrument == "EUR_USD"
    _refused(get_volatility.sync_detailed("XXX_YYY", client=client), 400, "invalid-pair")
    assert "EUR_USD" in _told(models.AllMetrics, get_all_volatility.sync_detailed(client=client)).metrics
    matrix = _told(models.CorrelationMatrix, get_correlation_matrix.sync_detailed(client=client))
    assert matrix.matrix["EUR_USD"]["EUR_USD"] == 1
    _refused(get_correlation_matrix.sync_detailed(client=client, window=0), 400, "invalid-request")
    pair = _told(models.PairCorrelation, get_pair_correlation.sync_detailed(client=client, pair1="EUR_USD", pair2="GBP_USD"))
    assert pair.pair2 == "GBP_USD"
    _refused(get_pair_correlation.sync_detailed(client=client, pair1="EUR_USD", pair2="XXX_YYY"), 400, "invalid-pair")
    over_time = get_rolling_correlation.sync_detailed(client=client, pair1="EUR_USD", pair2="GBP_USD", limit=2)
    assert _told(models.RollingCorrelation, over_time).count == 2
    _refused(get_rolling_correlation.sync_detailed(client=client, pair1="EUR_USD", pair2="XXX_YYY"), 400, "invalid-pair")
    assert _told(models.MetricsHistory, get_metrics_history.sync_detailed("EUR_USD", client=client, limit=2)).count == 2
    _refused(get_metrics_history.sync_detailed("EUR_USD", client=client, measure=["x"]), 400, "invalid-request")
    assert all(each.rank >= 1 for each in _told(models.BestPairs, get_best_pairs.sync_detailed(client=client)).pairs)


def _set_levels(client: AuthenticatedClient) -> None:
    alerts = _told(models.PastAlerts, get_alerts.sync_detailed(client=client, severity=["warning"], limit=5)).alerts
    assert any(isinstance(alert, models.PastPriceAlert) and alert.level == "1.50000" for alert in alerts)
    _refused(get_alerts.sync_detailed(client=client, limit=0), 400, "invalid-request")
    new = models.NewPriceLevel("GBP_USD", models.Direction.BELOW, "0.50000", message="low")
    level = _told(models.ListedLevel, set_price_level.sync_detailed(client=client, body=new))
    assert level.level == "0.50000"
    too_fine = models.NewPriceLevel("GBP_USD", models.Direction.BELOW, "0.500001")
    _refused(set_price_level.sync_detailed(client=client, body=too_fine), 422, "invalid-body")
    listed = _told(models.ListedLevels, get_price_levels.sync_detailed(client=client)).levels
    assert level.id in [each.id for each in listed]
    _refused(get_price_levels.sync_detailed(client=client, pair="XXX_YYY"), 400, "invalid-pair")
    assert _told(models.ListedLevel, get_price_level.sync_detailed(level.id, client=client)).message == "low"
    _refused(get_price_level.sync_detailed(_NOWHERE, client=client), 404, "not-found")
    assert delete_price_level.sync_detailed(level.id, client=client).status_code == 204
    _refused(delete_price_level.sync_detailed(level.id, client=client), 404, "not-found")


def _publish(client: AuthenticatedClient) -> None:
    page = _told(models.EventPage, get_events.sync_detailed(client=client, types="price_update", limit=2))
    assert len(page.events) == 2
    assert all(isinstance(event.data, models.PriceUpdate) for event in page.events)
    _refused(get_events.sync_detailed(client=client, since="soon"), 400, "invalid-cursor")
    assert len(_told(models.PublishedIds, publish_events.sync_detailed(client=client, body=_news())).ids) == 1


def _news() -> list[models.NewCorrelationAlert | models.NewDataReady | models.NewPriceUpdate | models.NewVolatilityAlert]:
    return [models.NewDataReady("data_ready", models.PublishDataReady(models.PublishDataReadyDataType.CANDLES, count=3))]


def _follow(client: AuthenticatedClient) -> None:
    # An event stream does not end, so that it is read in parts instead of as one answer.
    for request in (stream_pairs._get_kwargs(pairs="EUR_USD,GBP_USD"), stream_pair._get_kwargs("EUR_USD")):
        with client.get_httpx_client().stream(**request) as response:
            assert "event: stream_opened" in response.iter_lines()
    _refused(stream_pairs.sync_detailed(client=client, pairs="XXX_YYY"), 400, "invalid-pair")
    _refused(stream_pair.sync_detailed("XXX_YYY", client=client), 400, "invalid-pair")


def _ask_for_the_gateway(client: AuthenticatedClient) -> None:
    assert _told(models.Runs, get_jobs.sync_detailed(client=client)).runs
    _refused(get_jobs.sync_detailed(client=client, limit=0), 400, "invalid-request")
    state = _told(models.AdminState, get_admin_state.sync_detailed(client=client))
    assert state.clients.by_transport["sse"] >= 0
    assert state.subscriptions["EUR_USD"] >= 0
    assert _told(models.Health, get_health.sync_detailed(client=client)).status == "healthy"
    assert _told(models.Liveness, get_liveness.sync_detailed(client=client)).status == "alive"
    assert _told(models.Readiness, get_readiness.sync_detailed(client=client)).status == "ready"


def _ask_for_the_rest(client: AuthenticatedClient) -> None:
    for operation in json.loads(os.environ["UNNAMED_OPERATIONS"]):
        module = import_module(f"fx_gateway_client.api.{operation['tag']}.{operation['id']}")
        given = operation["given"]
        parsed = _told(object, module.sync_detailed(client=client, **given["path"], **given["query"]))
        assert parsed.__class__.__module__.startswith("fx_gateway_client.models."), parsed


def _told(kind: type[T], response: Response[Any]) -> T:
    """The typed answer. Raises AssertionError for another, or a refusal."""
    assert 200 <= response.status_code < 300, response
    assert isinstance(response.parsed, kind), response.parsed
    return response.parsed


def _refused(response: Response[Any], status: int, kind: str) -> None:
    problem = response.parsed
    assert isinstance(problem, models.ProblemDetails), problem
    assert response.status_code == problem.status == status, problem
    assert problem.type_ == f"urn:problem-type:fx-gateway:{kind}", problem
    assert problem.detail


if __name__ == "__main__":
    main()
