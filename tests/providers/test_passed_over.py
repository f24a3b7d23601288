import logging

import pytest

from app.providers.passed_over import MALFORMED, PassedOver


def test_counts_by_reason_and_logs_each_count_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    passed_over = PassedOver("Kraken")
    for _ in range(105):
        passed_over.note(MALFORMED)
    passed_over.note("crossed")
    assert passed_over.counts == {"malformed": 105, "crossed": 1}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "Kraken: messages passed over so far as malformed: 1"),
        ("WARNING", "Kraken: messages passed over so far as malformed: 10"),
        ("WARNING", "Kraken: messages passed over so far as malformed: 100"),
        ("INFO", "Kraken: messages passed over so far as crossed: 1"),
    ]
