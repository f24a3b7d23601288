import pytest

from app.market.source import UNKNOWN_SOURCES, Sources, SourceTraits

_SOURCES = Sources([SourceTraits(name="bank", daily=True), SourceTraits(name="toy", simulated=True, invented=True)])


def test_traits_are_found_by_name() -> None:
    assert _SOURCES.names == ("bank", "toy")
    assert _SOURCES.of("bank").daily
    assert _SOURCES.invented == {"toy"}
    assert [_SOURCES.is_invented(name) for name in _SOURCES.names] == [False, True]


@pytest.mark.parametrize("sources", [_SOURCES, UNKNOWN_SOURCES])
def test_an_unknown_name_stands_for_a_real_market_of_the_trading_week(sources: Sources) -> None:
    traits = sources.of("bloomberg")
    assert traits == SourceTraits(name="bloomberg")
    assert {traits.invented, traits.always_open, traits.daily, traits.has_history} == {False}
    assert not sources.is_invented("bloomberg")


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        Sources([SourceTraits(name="bank"), SourceTraits(name="bank")])
