import pytest

from app.storage.alerts.states import AlertStates
from app.storage.database.database import Database


@pytest.fixture
def states(database: Database) -> AlertStates:
    return AlertStates(database)


async def test_states_come_back_as_the_same_bytes(states: AlertStates) -> None:
    saved = {"volatility:EUR_USD": b'{"severity": "info"}', "volatility:USD_JPY": b"{}"}
    await states.save(saved)
    assert await states.load("volatility:") == saved
    assert await states.load("") == saved
    assert await states.load("volatility:EUR_USD") == {"volatility:EUR_USD": b'{"severity": "info"}'}


async def test_a_state_takes_the_place_of_the_one_before_it_and_others_stay(states: AlertStates) -> None:
    await states.save({"a": b"1", "b": b"2"})
    await states.save({"b": b"3", "c": b"4"})
    assert await states.load("") == {"a": b"1", "b": b"3", "c": b"4"}
    await states.save({})
    assert len(await states.load("")) == 3


@pytest.mark.parametrize("prefix", ["A", "%", "_", "a%", "' OR 1=1 --"])
async def test_a_prefix_stands_for_itself(states: AlertStates, prefix: str) -> None:
    await states.save({"a": b"1", "ab": b"2"})
    assert await states.load(prefix) == {}
    await states.save({f"{prefix}x": b"3"})
    assert await states.load(prefix) == {f"{prefix}x": b"3"}
