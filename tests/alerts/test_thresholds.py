import pytest

from app.alerts.thresholds import NONE, PLAIN, Thresholds, parse_thresholds, thresholds_of
from app.market.alert import Severity


def _name(text: str) -> str:
    if not text.isalpha():
        raise ValueError(f"not a name: {text}")
    return text.upper()


def test_a_setting_holds_thresholds_by_kind_and_name() -> None:
    table = parse_thresholds(" * = 0.1/0.15/0.25 , eur=/0.2/ ,median *=//4,", ["median"], _name)
    assert table == {
        PLAIN: {"*": Thresholds(0.1, 0.15, 0.25), "EUR": Thresholds(warning=0.2)},
        "median": {"*": Thresholds(critical=4)},
    }


def test_an_empty_setting_holds_none() -> None:
    assert parse_thresholds(" ", ["median"], _name) == {PLAIN: {}, "median": {}}


def test_a_name_without_an_entry_has_that_of_every_name() -> None:
    table = parse_thresholds("*=1/2/3,EUR=4/5/6,median JPY=2/3/4", ["median"], _name)
    assert thresholds_of(table, PLAIN, "EUR") == Thresholds(4, 5, 6)
    assert thresholds_of(table, PLAIN, "JPY") == thresholds_of(table, PLAIN, "*") == Thresholds(1, 2, 3)
    assert thresholds_of(table, "median", "JPY") == Thresholds(2, 3, 4)
    assert thresholds_of(table, "median", "EUR") == NONE


def test_a_name_can_be_silenced() -> None:
    table = parse_thresholds("*=1/2/3,EUR=//", [], _name)
    assert thresholds_of(table, PLAIN, "EUR").by_severity() == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.1/0.2/0.3", "NAME=INFO/WARNING/CRITICAL is expected"),
        ("*=0.1/0.2", "three thresholds are expected"),
        ("*=0.1", "three thresholds are expected"),
        ("*=1/2/3/4", "three thresholds are expected"),
        ("*=0.1/x/0.3", "'x' is not a number"),
        ("*=0.2/0.1/0.3", "a higher severity needs a higher threshold"),
        ("*=0.3//0.3", "a higher severity needs a higher threshold"),
        ("*=0/1/2", "above zero"),
        ("*=-1/1/2", "above zero"),
        ("*=nan//", "above zero"),
        ("*=//inf", "above zero"),
        ("=1/2/3", "not a name"),
        ("E1=1/2/3", "not a name: E1"),
        ("mean EUR=1/2/3", "only median or change may stand before a name"),
        ("median median EUR=1/2/3", "only median or change may stand before a name"),
        ("*=1/2/3,EUR=1/2/3,*=1/2/3", "the name has an entry already"),
        ("EUR=1/2/3,eur=1/2/3", "'eur=1/2/3': the name has an entry already"),
    ],
)
def test_a_wrong_setting_is_an_error_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_thresholds(text, ["median", "change"], _name)
    assert "\n" not in str(caught.value)


def test_severities_are_ranked() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == [Severity.INFO, Severity.WARNING, Severity.CRITICAL]
    assert [severity.rank for severity in Severity] == [1, 2, 3]
    assert list(Thresholds(1, 2, 3).by_severity()) == list(Severity)
    assert (Thresholds(1, 2, 3).highest, NONE.highest) == (3, 0)
