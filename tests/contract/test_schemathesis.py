"""Every operation keeps to its description, whatever is asked: requests made up by the description, good ones and bad ones."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from tests.contract.furnished import TOKEN
from tests.contract.generation import agree
from tests.project import PROJECT

_DESCRIPTION = PROJECT / "openapi" / "openapi.json"
_FILES = ("csv", "ndjson", "parquet", "arrow")
_CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {"deterministic": True},
        # A pair or a level may be without anything to answer with, and a cursor may be older than what the log holds.
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "410"]}},
    }
)
schema = schemathesis.openapi.from_path(_DESCRIPTION, config=_CONFIG)


# An event stream does not end, so that there is no answer to check; tests/realtime and tests/specs check what it says.
@pytest.mark.usefixtures("untraced_test")
@schema.exclude(path_regex="^/stream").parametrize()
@settings(max_examples=25, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_an_operation_keeps_to_its_description(case: "schemathesis.Case[Any]", furnished_url: str) -> None:
    if case.meta is not None and case.meta.generation.mode.is_positive:
        agree(case)
    if isinstance(case.query, dict) and case.query.get("format") in _FILES:
        case.query["format"] = "json"  # the types of files are described in words
    case.call_and_validate(base_url=furnished_url, headers={"Authorization": f"Bearer {TOKEN}"})
