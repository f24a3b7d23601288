"""The board: texts that processes leave for each other."""

import multiprocessing
import struct
from multiprocessing.context import SpawnProcess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.clock import utc_now
from app.realtime.monitoring.board import Board

WORKERS, CAPACITY = 3, 200


def board() -> Board:
    one = Board(bytearray(Board.size(WORKERS, CAPACITY)), WORKERS)
    one.start()
    return one


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.binary(min_size=1, max_size=CAPACITY)), max_size=20))
def test_each_place_holds_what_was_written_there_last(texts: list[tuple[int, bytes]]) -> None:
    shared, last = board(), dict[int, bytes]()
    places = [shared.place(worker) for worker in range(WORKERS)]
    for worker, text in texts:
        places[worker].write(text)
        last[worker] = text
    assert [shared.read(worker, 60) for worker in range(WORKERS)] == [last.get(worker) for worker in range(WORKERS)]


def test_a_text_that_is_too_long_is_refused_and_changes_nothing() -> None:
    place = board().place(1)
    place.write(b"before")
    with pytest.raises(ValueError, match="too many"):
        place.write(b"x" * (place.board.capacity + 1))
    assert place.board.read(1, 60) == b"before"


def test_a_place_is_empty_for_its_next_process() -> None:
    shared = board()
    shared.place(0).write(b"of one that died")
    assert shared.place(0).board.read(0, 60) is None


def test_what_is_old_or_half_written_is_not_there() -> None:
    memory = bytearray(Board.size(1, CAPACITY))
    shared = Board(memory, 1)
    shared.place().write(b"a report")
    assert shared.read(0, -1) is None
    place = memory.index(b"a report")
    memory[place] ^= 1
    assert shared.read(0, 60) is None
    memory[place] ^= 1
    assert shared.read(0, 60) == b"a report"
    struct.pack_into("<I", memory, place - 8, 1 << 31)  # a length that reaches beyond the memory
    assert shared.read(0, 60) is None


def test_it_is_asked_for_from_the_first_read_on() -> None:
    shared = board()
    assert not shared.is_asked_for
    shared.ask()
    assert shared.is_asked_for
    assert 0 <= shared.uptime < 60
    assert 0 <= (utc_now() - shared.started).total_seconds() < 60


def test_memory_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        Board(bytearray(80), 1)


def test_another_process_reads_whole_texts_only() -> None:
    context = multiprocessing.get_context("spawn")
    memory = context.RawArray("B", Board.size(2, CAPACITY))
    shared = Board(memory, 2)
    shared.start()
    writer: SpawnProcess = context.Process(target=_write_much, args=(memory,))
    writer.start()
    seen: set[bytes] = set()
    while writer.is_alive() or not seen:
        text = shared.read(1, 60)
        if text is not None:
            assert len(text) == len(set(text)) * len(text)
            seen.add(text[:1])
    writer.join()
    assert writer.exitcode == 0
    assert shared.read(1, 60) == b"z" * CAPACITY


def _write_much(memory: bytearray) -> None:
    place = Board(memory, 2).place(1)
    for _ in range(2000):
        for letter in (b"a", b"b", b"z"):
            place.write(letter * CAPACITY)
