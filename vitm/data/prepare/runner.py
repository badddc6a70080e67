"""Many sources side by side: what is done is noted, what fails is rejected, the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vitm.data.prepare.folder import REJECTED, DataFolder, Record

Report = Callable[[str, int, int], None]
Task = Callable[[Path, Report], Record]  # from the folder for unfinished work


class _StopError(Exception):
    """The work is to end now."""


def run_tasks(
    folder: DataFolder,
    tasks: Mapping[str, Task],
    heads: Mapping[str, Record],
    workers: int,
    console: Console,
) -> dict[str, Record]:
    """Runs what is not done yet, several sources at a time, in threads (codecs are outside Python's lock).

    Args:
        folder: Where it is noted.
        tasks: Of each source; ValueError and FileNotFoundError reject the source.
        heads: Of each source, what its record begins with: `split`, `stamp` and so on.
        workers: Sources at a time.
        console: For progress, and what is rejected.

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
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        everything = progress.add_task("all", total=len(tasks), completed=len(tasks) - len(left))

        def work(name: str) -> Record:
            bar: list[Any] = []

            def report(what: str, done: int, of: int) -> None:
                if stop.is_set():
                    raise _StopError
                if not bar:
                    bar.append(progress.add_task(""))
                progress.update(bar[0], description=escape(f"{name}: {what}"), completed=done, total=of)

            try:
                made = tasks[name](folder.start(name, heads[name]), report)
            except (ValueError, FileNotFoundError) as error:
                made = {REJECTED: str(error)}
                progress.console.print(f"rejected: {name}: {error}", style="yellow", markup=False, soft_wrap=True)
            finally:
                for task in bar:
                    progress.remove_task(task)
            folder.note(name, record := {**heads[name], **made})
            progress.advance(everything)
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
