"""The figures of several workers as one."""

from array import array
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import StatisticsTable
from app.realtime.log.log import EventLog
from app.realtime.monitoring.exposition import exposition
from tests.realtime.listening import TRACKED


def samples(table: StatisticsTable, worker: int = 0) -> Mapping[str, float]:
    """What a worker answers: every sample by its name and the values of its labels, in the order of their names."""
    body, _ = exposition(Hub(EventLog(Redis()), TRACKED, statistics=table.rows[worker]), "")
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def table() -> StatisticsTable:
    return StatisticsTable(array("d", bytes(8 * StatisticsTable.size(2))), 2)


def test_whichever_worker_is_asked_answers_for_all() -> None:
    shared = table()
    first, second = shared.rows
    first.conflated.add(2)
    second.conflated.add(3)
    first.cut_off["flooding"].add()
    second.cut_off["flooding"].add()
    second.enter("sse")
    second.memory.set(5e6)
    found = samples(shared)
    assert found == samples(shared, 1)
    assert (found["fx_conflated_prices_total"], found["fx_cut_off_clients_total flooding"]) == (5, 2)
    assert (found["fx_clients sse 1"], found["fx_clients sse 2"]) == (0, 1)
    assert (found["fx_process_resident_memory_bytes 1"], found["fx_process_resident_memory_bytes 2"]) == (0, 5e6)


def test_buckets_hold_all_that_is_below_them() -> None:
    shared = table()
    shared.rows[0].latency["sse"].observe(0.0015, 2)
    shared.rows[1].latency["sse"].observe(0.4, 3)
    shared.rows[1].latency["sse"].observe(100)
    found = samples(shared)
    buckets = {
        le: found[f"fx_delivery_latency_seconds_bucket {le} sse"] for le in ("0.001", "0.002", "0.2", "0.5", "30.0", "+Inf")
    }
    assert buckets == {"0.001": 0, "0.002": 2, "0.2": 2, "0.5": 5, "30.0": 5, "+Inf": 6}
    assert found["fx_delivery_latency_seconds_count sse"] == 6
    assert abs(found["fx_delivery_latency_seconds_sum sse"] - 101.203) < 1e-9
    assert found["fx_delivery_latency_seconds_count polling"] == 0


def test_before_anything_was_counted_everything_stands_at_zero() -> None:
    found = samples(table())
    assert {value for name, value in found.items() if name != "fx_clients_limit"} == {0}
    assert len(found) > 100
