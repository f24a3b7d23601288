"""``/metrics``: what the gateway counts, for Prometheus.

Whichever worker is asked answers for all. It says nothing of any client, and is not for the outside all the same: a proxy should
not pass it on. No limit of requests counts it, because a scraper that is refused loses samples, and an answer costs little.
"""

from fastapi import APIRouter, Request, Response

from app.http.gateway import CurrentGateway
from app.realtime.monitoring.exposition import exposition

router = APIRouter(include_in_schema=False)


@router.head("/metrics")
@router.get("/metrics")
async def get_exposition(request: Request, gateway: CurrentGateway) -> Response:
    """The figures in the format that the client prefers, Prometheus text where it says nothing."""
    body, content_type = exposition(gateway.hub, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
