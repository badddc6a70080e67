"""Work done ahead in a thread, so that decoding, computing and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield the same items, of which up to `depth` are made ahead by a thread. Its errors are raised here, in order.

    The thread ends when the items do, or when this iterator is closed or collected.

    Args:
        items: items, consumed by the thread alone.
        depth: largest number of items that wait, so that memory stays bounded.
    """
    waiting: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        while not closed.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item,))
                if closed.is_set():
                    break
        except BaseException as error:
            put(error)
        finally:
            if hasattr(items, "close"):
                items.close()
            put(None)

    thread = threading.Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    try:
        while (got := waiting.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:
        closed.set()
        thread.join()
