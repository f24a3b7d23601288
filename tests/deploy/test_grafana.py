"""The dashboard for Grafana: a sound document that asks for what a gateway tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat
from app.realtime.log.log import EventLog, open_redis
from tests.gateways import gateway
from tests.project import PROJECT
from tests.waiting import wait_until

_ROWS = ["Clients", "Delivery", "Latency", "Lagging and disconnected clients", "Log and resume", "Feed and recorder", "Processes"]
_PARTS = ("_bucket", "_count", "_sum")


@pytest.fixture
def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    document = json.loads((PROJECT / "deploy" / "grafana" / "fx-gateway.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every query of the panels."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def names_in(expression: str) -> set[str]:
    """The metrics that a query asks for."""
    return set(re.findall(r"\bfx_\w+", expression))


async def test_it_asks_for_every_figure_there_is_and_for_no_other(
    dashboard: dict[str, Any], valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path) as running, httpx.AsyncClient(base_url=running.url) as http:
        async with open_redis(valkey_url) as redis:
            publisher = EventLog(redis).publisher()
            await publisher.publish(
                [heartbeat(FeedHeartbeat(node="a", source="kraken", simulated=False, dropped={"crossed": 3}))]
            )
            await publisher.publish([heartbeat(RecorderHeartbeat(node="b", cursor="1-0", seq=0, lost=2))])
        await wait_until(lambda: running.hub.signs.recorder is not None, "the feed and the recorder have been heard")
        families = list(text_string_to_metric_families((await http.get("/metrics")).text))
    told = {sample.name for family in families for sample in family.samples}
    asked = {name for expression in expressions(dashboard) for name in names_in(expression)}
    assert asked - told == set()
    for family in families:
        used = asked & {sample.name for sample in family.samples}
        assert used, family.name
        assert family.type != "histogram" or f"{family.name}_bucket" in used
    variables = [variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    assert {name for definition in variables for name in names_in(definition)} <= told


def test_counters_are_asked_for_their_rate_and_histograms_for_their_buckets(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        for name in names_in(expression):
            if name.endswith(_PARTS) or (name.endswith("_total") and not name.startswith("fx_recorder")):
                assert re.search(rf"\b(rate|increase)\({name}{{[^}}]*}}\[\$__rate_interval\]\)", expression), expression
            else:
                assert f"{name}{{" in expression, expression


def test_it_is_a_dashboard_with_its_rows(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] >= 39
    assert (dashboard["uid"], dashboard["title"]) == ("fx-gateway", "FX Gateway")
    panels = dashboard["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == _ROWS
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert "heatmap" in {panel["type"] for panel in panels}
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["targets"]
            assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_every_variable_of_its_queries_is_defined(dashboard: dict[str, Any]) -> None:
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert defined == {"datasource", "job", "instance"}
    used = {name for expression in expressions(dashboard) for name in re.findall(r"\$(\w+)", expression)}
    assert used == {"job", "instance", "__rate_interval"}


def test_no_two_panels_lie_on_each_other(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
