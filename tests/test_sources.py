"""The catalogue of providers, and that no other module lists them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from app.config import SourceName, load_settings
from app.market.bars.history import CandleSource
from app.sources import SOURCES, open_provider
from tests.project import PROJECT

_LISTS_PROVIDERS = ("app/sources.py", "app/config.py", "app/providers/")
"""The catalogue, the names and settings that an operator may choose from, and each provider for itself."""


def test_the_settings_accept_exactly_the_sources_of_the_catalogue() -> None:
    assert get_args(SourceName) == SOURCES.names


@pytest.mark.parametrize("name", get_args(SourceName))
def test_a_source_has_the_traits_that_its_provider_declares(name: SourceName, fx_data: Path) -> None:
    replay = (fx_data / "truefx" / "usdjpy-ticks.csv",)
    source = open_provider(name, load_settings(source=name, oanda_token="1" * 40, replay_files=replay))
    assert source.traits == SOURCES.of(name)
    assert (source.name, source.simulated) == (name, source.traits.simulated)
    assert isinstance(source, CandleSource) is source.traits.has_history


def test_what_is_simulated_is_invented_and_what_is_invented_has_no_history() -> None:
    for traits in map(SOURCES.of, SOURCES.names):
        assert traits.invented or not traits.simulated
        assert not (traits.invented and traits.has_history)


def test_only_the_catalogue_and_the_settings_know_providers_by_name() -> None:
    files = [file for package in ("app", "fx_gateway", "jobs") for file in (PROJECT / package).rglob("*.py")]
    knowing = {
        path
        for file in files
        if not (path := file.relative_to(PROJECT).as_posix()).startswith(_LISTS_PROVIDERS)
        and any(_decisions_by_name(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert knowing == set()


@pytest.mark.parametrize(
    "source",
    [
        'if source == "kraken": pass',
        'if source in ("oanda", "ecb"): pass',
        'real = {"oanda"}',
        'breaks = {"oanda": 2, "kraken": 0}',
        'match source:\n    case "ecb": pass',
        "from app.providers.kraken.source import KrakenSource",
    ],
)
def test_a_decision_by_the_name_of_a_provider_is_found(source: str) -> None:
    assert any(_decisions_by_name(ast.parse(source)))


def _decisions_by_name(tree: ast.Module) -> Iterator[ast.AST]:
    """The places that compare with the name of a provider, list several, or import a source."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                compared = [node.left, *node.comparators]
                if any(_named(constant) for side in compared for constant in ast.walk(side)):
                    yield node
            case ast.MatchValue():
                if _named(node.value):
                    yield node
            case ast.Set():
                if any(map(_named, node.elts)):
                    yield node
            case ast.Dict():
                # The states of two sources by their names are an example in the documentation.
                documented = all(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in node.values)
                if sum(map(_named, node.keys)) > 1 and not documented:
                    yield node
            case ast.ImportFrom(module=str(module)):
                if module.startswith("app.providers.") and module.endswith(".source"):
                    yield node


def _named(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in SOURCES.names
