"""``/metrics``: the counters and gauges of the gateway, for Prometheus.

Any worker answers for all of them. The answer says nothing about single clients, but a proxy should not expose it to the
public. The rate limit does not count it: a scraper that is refused loses samples, and an answer is cheap.
"""

from fastapi import APIRouter, Request, Response

from app.http.gateway import CurrentGateway
from app.realtime.monitoring.exposition import exposition

router = APIRouter(include_in_schema=False)


@router.head("/metrics")
@router.get("/metrics")
async def get_exposition(request: Request, gateway: CurrentGateway) -> Response:
    """The metrics in the format that the client prefers, Prometheus text by default."""
    silent = len(gateway.prices.silent_pairs())
    body, content_type = exposition(gateway.hub, request.headers.get("accept", ""), silent)
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
