"""Many sources side by side: what is done is noted, what fails is rejected, the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from vitm.console import progress
from vitm.data.prepare.data_folder import REJECTED, DataFolder
from vitm.data.prepare.record import Record, Tell

PreparationTask = Callable[[Path, Tell], Record]  # from the folder for unfinished work


class _StopError(Exception):
    """The work is to end now."""


def run_tasks(
    folder: DataFolder,
    tasks: Mapping[str, PreparationTask],
    heads: Mapping[str, Record],
    workers: int,
    console: Console,
) -> dict[str, Record]:
    """Run what is not done yet, several sources at a time, in threads (codecs are outside Python's lock).

    Args:
        folder: Data set folder in which the work is noted.
        tasks: Task of each source; ValueError and FileNotFoundError reject the source.
        heads: Beginning of each source's record: `split`, `stamp` and so on.
        workers: Number of sources at a time.
        console: Console for progress, and for what is rejected.

    Returns:
        The records of all sources, also of those that were done before, in the order of `tasks`.
    """
    records = {name: folder.record(name, heads[name]["stamp"]) for name in tasks}
    left = [name for name, record in records.items() if record is None]
    if not left:
        return {name: record for name, record in records.items() if record is not None}
    if len(left) < len(tasks):
        console.print(f"Going on: {len(tasks) - len(left)} of {len(tasks)} are done already.")
    folder.begin()
    stop = threading.Event()
    with progress(console) as bars:
        everything = bars.add_task("all", total=len(tasks), completed=len(tasks) - len(left))

        def work(name: str) -> Record:
            bar: list[Any] = []

            def tell(what: str, done: int, of: int) -> None:
                if stop.is_set():
                    raise _StopError
                if not bar:
                    bar.append(bars.add_task(""))
                bars.update(bar[0], description=escape(f"{name}: {what}"), completed=done, total=of)

            try:
                result = tasks[name](folder.start(name, heads[name]), tell)
            except (ValueError, FileNotFoundError) as error:
                result = {REJECTED: str(error)}
                bars.console.print(f"rejected: {name}: {error}", style="yellow", markup=False, soft_wrap=True)
            finally:
                for task in bar:
                    bars.remove_task(task)
            folder.note(name, record := {**heads[name], **result})
            bars.advance(everything)
            return record

        with ThreadPoolExecutor(workers) as pool:
            jobs = {name: pool.submit(work, name) for name in left}
            try:
                wait(jobs.values(), return_when=FIRST_EXCEPTION)
                for job in jobs.values():
                    if job.done():
                        job.result()
            except KeyboardInterrupt:
                raise KeyboardInterrupt("; what is done is kept: the same command goes on") from None
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
    return {name: record or jobs[name].result() for name, record in records.items()}
