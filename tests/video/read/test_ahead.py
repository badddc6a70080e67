"""Order, errors and the end of work done ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vitm.video.read.ahead import read_ahead


def workers() -> int:
    return sum(thread.name == "read ahead" for thread in threading.enumerate())


def test_the_same_items_in_order() -> None:
    assert list(read_ahead(range(50), depth=3)) == list(range(50))
    assert list(read_ahead([])) == []
    assert list(read_ahead([None, None])) == [None, None]
    assert workers() == 0


def test_errors_come_after_the_items_before_them() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(ahead)
    assert workers() == 0


def test_no_more_than_depth_items_wait() -> None:
    made: list[int] = []
    reached = threading.Event()

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 4:
                reached.set()
            yield i

    ahead = read_ahead(items(), depth=3)
    assert next(ahead) == 0
    assert reached.wait(10)
    assert not threading.Event().wait(0.3)  # time for the thread to run on, if it did
    assert len(made) == 5  # one taken, three waiting, one in hand
    ahead.close()
    assert workers() == 0


def test_closing_closes_the_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    ahead = read_ahead(items())
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert workers() == 0
