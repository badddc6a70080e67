"""Released weights on published data, by the paper's protocol: do they give the numbers that the paper prints?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from vitm.checkpoints import checkpoint_digest
from vitm.data.paired.fingerprint import Fingerprint, fingerprint
from vitm.data.paired.windows import HDR10Windows
from vitm.files import replace_when_whole
from vitm.metrics import value_info, value_order
from vitm.metrics.registry import metric_of
from vitm.runs.entries import Entry


def protocol_options(entry: Entry) -> list[str]:
    """Return the options that make a test measure what the paper prints.

    Raises:
        ValueError: neither data nor weights of the entry were published.
    """
    if not entry.published:
        raise ValueError(
            f"--protocol paper checks released weights on published data, and {entry.name} has none; entries of "
            "networks with both are hdcfm, hdrtvnet_plus and hdrtvdm"
        )
    metrics = dict.fromkeys(metric_of(value) for value in entry.results)
    return ["--model.test_metrics", json.dumps([*metrics])] if metrics else []


@dataclass(frozen=True)
class Check:
    """A test of weights on data, beside what was published.

    Attributes:
        entry: what was tested.
        values: name of a value -> our number.
        data: what identifies the test split.
        weights: SHA-256 of the checkpoint.
        file: name of the checkpoint.
    """

    entry: Entry
    values: Mapping[str, float]
    data: Fingerprint
    weights: str
    file: str

    @property
    def released(self) -> str | None:
        """The authors' name of the released file that was tested; None for another file."""
        files: Mapping[str, str] = self.entry.published["weights"]
        return next((name for name, known in files.items() if known == self.weights), None)

    @property
    def is_published_data(self) -> bool:
        """Whether the split has as many samples as the published one, and all of its size."""
        published = self.entry.published
        return self.data.samples == published["samples"] and self.data.sizes == (tuple(published["size"]),)

    def gap(self, value: str) -> float:
        """Return ours minus the paper's number; 0 where they agree in all digits that the paper prints."""
        printed = self.entry.results[value]
        exact: Any = printed.as_tuple().exponent
        return 0.0 if round(Decimal(self.values[value]), -exact) == printed else self.values[value] - float(printed)

    def lines(self) -> Iterator[str]:
        """Yield what a reader must know: data, weights, and each number of the paper beside ours."""
        published = self.entry.published
        expected = f"{published['samples']} samples of {published['size'][0]} x {published['size'][1]}"
        name = f"the {published['split']} split of {published['data']}"
        yield f"data: {self.data}"
        if self.is_published_data:
            yield f"This has the number and the size of {name}; its authors publish no checksums."
        else:
            why = ": the paper's numbers do not hold for it" if self.entry.results else ""
            yield f"This is not {name}, which has {expected}{why}."
        released = f"the released {self.released}" if self.released else "not a released file that is known here"
        yield f"weights: {self.file}, sha256 {self.weights}: {released}"
        if not self.entry.results:
            yield "No numbers of a paper are known here for these weights."
        for value in value_order(self.entry.results):
            if value in self.values:
                heading, printed, gap = value_info(value).heading, self.entry.results[value], self.gap(value)
                verdict = f"off by {gap:+.4f}" if gap else "agrees in all printed digits"
                yield f"{heading}: the paper {printed}, here {self.values[value]:.4f}: {verdict}"

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        gaps = {value: self.gap(value) for value in self.entry.results if value in self.values}
        content = {
            "data": asdict(self.data),
            "is_published_data": self.is_published_data,
            "weights": {"file": self.file, "sha256": self.weights, "released": self.released},
            "off_by": gaps,
        }
        with replace_when_whole(path) as part:
            part.write_text(json.dumps(content, indent=2))


def check_published(entry: Entry, values: Mapping[str, float], data: Any, checkpoint: Path) -> Check:
    """Return a test beside what was published; every file of the test split is read once more for its digest.

    Args:
        entry: what was tested.
        values: name of a value -> our number.
        data: its data module.
        checkpoint: weights that were tested.
    """
    assert isinstance(data, HDR10Windows)
    return Check(entry, values, fingerprint(data.windows("test")), checkpoint_digest(checkpoint), checkpoint.name)


def report_published(check: Check, folder: Path, console: Console) -> None:
    """Print a check, and write it into a run's folder as `paper.json`."""
    check.save(folder / "paper.json")
    console.print(f"By the paper's protocol ({check.entry.paper}):", markup=False)
    for line in check.lines():
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)
