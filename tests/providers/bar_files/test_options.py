import pytest

from app.errors import ConfigurationError
from app.providers.bar_files.options import checked_source
from app.sources import SOURCES


@pytest.mark.parametrize("name", ["histdata", "my-broker.2", "oanda", "a" * 32])
def test_a_name_that_can_mark_bars(name: str) -> None:
    assert checked_source(name, SOURCES) == name


@pytest.mark.parametrize("name", ["", "My Broker", "a\0b", "simulated", "replay", "a" * 33, "-x"])
def test_a_name_that_cannot(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--source: "):
        checked_source(name, SOURCES)
