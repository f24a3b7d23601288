"""The catalogue of routers: what a new endpoint has to be added to."""

import json
from pathlib import Path

from fastapi import FastAPI

from app.routers import catalogue
from tests.project import PROJECT
from tests.routers.running import Rest, assert_problem, bars

_ROUTERS = PROJECT / "app" / "routers"


def _modules_with_a_router() -> set[str]:
    """The modules that define endpoints, by the last part of their names."""
    return {file.stem for file in _ROUTERS.rglob("*.py") if "\nrouter = APIRouter(" in file.read_text(encoding="utf-8")}


def test_every_router_is_included() -> None:
    listed = {endpoints.__name__.rpartition(".")[2] for endpoints in catalogue._ROUTERS}
    assert listed == _modules_with_a_router()


def test_every_group_is_described_and_has_an_operation() -> None:
    app = FastAPI()
    catalogue.include(app, operator=False)
    document = app.openapi()
    used = {tag for operations in document["paths"].values() for each in operations.values() for tag in each["tags"]}
    assert [group["name"] for group in document["tags"]] == list(catalogue._GROUPS)
    assert used == catalogue._GROUPS.keys()


def test_no_module_outside_of_a_router_names_an_operation() -> None:
    """What is said of an operation is said beside it, so that a new one needs no other module."""
    document = json.loads((PROJECT / "openapi" / "openapi.json").read_text(encoding="utf-8"))
    names = {each["operationId"] for operations in document["paths"].values() for each in operations.values()}
    shared = [*(PROJECT / "app" / "http").glob("*.py"), PROJECT / "app" / "main.py", *(_ROUTERS / "documentation").glob("*.py")]
    assert {(file.name, name) for file in shared for name in names if f'"{name}"' in _text(file)} == set()


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


async def test_every_endpoint_refuses_an_unknown_parameter(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    app = FastAPI()
    catalogue.include(app, operator=False)
    for path, item in app.openapi()["paths"].items():
        for method in item:
            asked = path.format(instrument="EUR_USD", pair="EUR_USD", id="1")
            response = await api.client.request(method, asked, params={"Limit": "1"})
            body = assert_problem(response, 422, "Unknown parameter")
            assert body["detail"].startswith("Unknown parameter: Limit; "), (method, path)
