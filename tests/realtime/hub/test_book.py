from app.realtime.hub.book import PriceBook
from tests.building import alert_event, gap_event, numbers, price_event, ready_event


def test_the_newest_price_of_each_pair_is_known() -> None:
    book = PriceBook(["EUR_USD", "USD_JPY"])
    events = [price_event(1), price_event(2, "USD_JPY", "156.1"), price_event(3, bid="1.09500")]
    for event in events:
        book.apply(event)
    assert book.newest("EUR_USD") is events[2]
    assert book.newest("USD_JPY") is events[1]


def test_a_pair_without_a_price_has_none() -> None:
    book = PriceBook(["EUR_USD"])
    assert book.newest("EUR_USD") is None
    assert book.newest("USD_JPY") is None
    assert book.snapshot(["EUR_USD", "USD_JPY"]) == []


def test_a_pair_that_is_not_tracked_is_not_kept() -> None:
    book = PriceBook(["EUR_USD"])
    book.apply(price_event(1, "USD_JPY"))
    assert book.newest("USD_JPY") is None
    assert book.snapshot(["USD_JPY"]) == []


def test_what_is_no_price_changes_nothing() -> None:
    book = PriceBook(["EUR_USD"])
    price = price_event(1)
    book.apply(price)
    for event in (alert_event(2), ready_event(3), gap_event(9)):
        book.apply(event)
    assert book.newest("EUR_USD") is price


def test_a_snapshot_has_the_pairs_that_have_a_price_oldest_first() -> None:
    book = PriceBook(["EUR_USD", "USD_JPY", "GBP_USD", "EUR_CHF"])
    for event in (price_event(1), price_event(2, "USD_JPY"), price_event(3, "GBP_USD"), price_event(4)):
        book.apply(event)
    assert numbers(book.snapshot(["EUR_USD", "EUR_CHF", "GBP_USD", "USD_JPY"])) == [2, 3, 4]
    assert numbers(book.snapshot({"EUR_USD"})) == [4]
    assert book.snapshot([]) == []
