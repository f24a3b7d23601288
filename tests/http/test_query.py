"""Query parameters that an endpoint does not have."""

from fastapi import FastAPI

from app.http.query import query_parameters
from app.routers import catalogue

_ALIASES = {"last_event_id", "lastEventId"}
"""Other names of ``since``, which its description gives."""


def test_the_parameters_of_an_endpoint_are_those_of_its_description() -> None:
    app = FastAPI()
    catalogue.include(app, operator=False)
    endpoints = {
        (route.path, method): route.endpoint
        for listed in catalogue._ROUTERS
        for route in listed.router.routes
        for method in getattr(route, "methods", ())  # a websocket has none, and OpenAPI does not describe it
    }
    described = app.openapi()["paths"]
    for (path, method), endpoint in endpoints.items():
        if method != "HEAD":
            parameters = described.get(path, {}).get(method.lower(), {}).get("parameters", ())
            names = {each["name"] for each in parameters if each["in"] == "query"}
            assert query_parameters(endpoint) - _ALIASES == names, path
