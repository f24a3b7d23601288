"""Every router of the REST interface, and the groups that the OpenAPI document puts the endpoints into.

A new endpoint needs its router in ``_ROUTERS`` and, if it begins a group, a line in ``_GROUPS``.
"""

from fastapi import Depends, FastAPI

from app.http.query import known_parameters
from app.routers.alerts import alerts, price_levels
from app.routers.documentation import description, pages
from app.routers.history import best_pairs, calendar, candles, correlations, metrics, sessions, ticks
from app.routers.live import events, prices, publishing, stream, websocket
from app.routers.operation import admin, cache, health, info, jobs, prometheus

# The most used first: the framework tries one route after the other.
_ROUTERS = (
    stream,
    websocket,
    prices,
    health,
    info,
    sessions,
    events,
    cache,
    prometheus,
    candles,
    ticks,
    metrics,
    correlations,
    best_pairs,
    alerts,
    price_levels,
    calendar,
    jobs,
    admin,
)

_GROUPS = {
    "prices": "The newest price of a pair, or of all, from memory: the same figures as in `price_update`.",
    "candles": "Bars of a pair at eight granularities, from the database. The newest bar may still be open.",
    "ticks": "Stored ticks and their spreads.",
    "metrics": "Volatility and moving averages of a pair, and the volatility of all pairs.",
    "correlation": "How pairs move together: the newest matrix, the correlation of two pairs, and pairs by use.",
    "alerts": "Past alerts, and the price levels that raise alerts.",
    "events": "The event log in pages by cursor, and publishing to it from other programs.",
    "streams": "Server-Sent Events. Their messages are described at [/docs/events](docs/events).",
    "sessions": "The trading sessions of the day, and which are open now.",
    "jobs": "The runs of the background jobs and their outcome.",
    "cache": "The state of Redis.",
    "health": "For operators, load balancers and process supervisors.",
    "admin": "The live state of the gateway for operators. The operator page at `/admin` shows it.",
    "info": "The gateway itself: version, pairs, limits, endpoints.",
}


def include(app: FastAPI, *, operator: bool) -> None:
    """Add every endpoint and page to the application and complete its OpenAPI document.

    Without ``operator`` the operator page is refused.
    """
    # The most used endpoint bypasses the framework's parsing of parameters, a third of its cost. The route of the same path
    # that comes with its router only describes it.
    app.add_route("/api/v1/prices/all", prices.get_all_prices, methods=["GET"], include_in_schema=False)
    for endpoints in _ROUTERS:
        app.include_router(endpoints.router, dependencies=[Depends(known_parameters)])
    app.include_router(pages.router(operator=operator))
    description.register(app, _GROUPS, {**publishing.described_schemas(), **price_levels.described_schemas()})
