"""All scenarios, in the order they run."""

from benchmarks.scenarios.arrival import Arrival
from benchmarks.scenarios.deaf import Deaf
from benchmarks.scenarios.flows import Flows
from benchmarks.scenarios.herd import Herd
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.slow import Slow
from benchmarks.scenarios.subsets import Subsets
from benchmarks.subjects import (
    COMPACT_GZIP_SSE,
    COMPACT_PLAIN,
    COMPACT_SSE,
    COMPACT_WEBSOCKET,
    FLOOR,
    GATEWAY_PLAIN,
    GATEWAY_SSE,
    GATEWAY_WEBSOCKET,
    GZIP_SSE,
    NCHAN_SSE,
    NCHAN_WEBSOCKET,
    NODE,
    PYTHON_SOCKETIO,
    SSE_STARLETTE,
    UVICORN_SSE,
    UVICORN_WEBSOCKET,
)

SCENARIOS: tuple[Scenario, ...] = (
    Flows(
        "bursts", "500 websocket clients on all pairs, events in bursts", 500, 20,
        {GATEWAY_WEBSOCKET: (2000,), COMPACT_WEBSOCKET: (2000,), NCHAN_WEBSOCKET: (200, 400), NODE: (40, 100, 200),
         PYTHON_SOCKETIO: (20, 40), FLOOR: (2000,)},
    ),
    Flows(
        "singles", "500 websocket clients on all pairs, events one by one", 500, 1,
        {GATEWAY_WEBSOCKET: (200,), COMPACT_WEBSOCKET: (200,), NCHAN_WEBSOCKET: (200,), NODE: (50, 100, 200),
         PYTHON_SOCKETIO: (15, 30), FLOOR: (200,)},
    ),
    Flows(
        "sse", "500 SSE clients on all pairs, events in bursts", 500, 20,
        {GATEWAY_SSE: (1000,), COMPACT_SSE: (1000,), GZIP_SSE: (1000,), COMPACT_GZIP_SSE: (1000,),
         NCHAN_SSE: (200, 400), SSE_STARLETTE: (20, 40)},
    ),
    Flows(
        "plain", "500 plain websocket clients on all pairs, events in bursts", 500, 20,
        {GATEWAY_PLAIN: (2000,), COMPACT_PLAIN: (2000,), NCHAN_WEBSOCKET: (200, 400), FLOOR: (2000,)},
    ),
    Subsets(),
    Flows("many", "10,000 websocket clients on all pairs", 10_000, 20, {GATEWAY_WEBSOCKET: (20,)}, seconds=10, quick_seconds=3),
    Deaf(),
    Arrival(
        "arrival", "5,000 websocket clients connect at once, then idle", 5000,
        (GATEWAY_WEBSOCKET, PYTHON_SOCKETIO, NODE, UVICORN_WEBSOCKET),
    ),
    Herd(),
    Arrival("memory", "5,000 event streams open at once, then idle", 5000, (GATEWAY_SSE, SSE_STARLETTE, UVICORN_SSE)),
    Slow(),
)  # fmt: skip
"""All scenarios."""

KEYS = tuple(scenario.key for scenario in SCENARIOS)
"""Their names on the command line."""
