"""Convert a clip with the network that an entry has trained."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from vitm.conversion import ConversionReport, Reading, convert
from vitm.runs.entries import Entry
from vitm.runs.folders import best_checkpoint, newest_run
from vitm.video.tags import Assume


def predict(
    entry: Entry,
    *,
    checkpoint: Path | None = None,
    runs: Path = Path("runs"),
    source: Path | None = None,
    output: Path | None = None,
    assume: Assume | None = None,
    fps: Fraction | None = None,
    device: str | None = None,
) -> ConversionReport:
    """Write `<output>/<clip>_hdr.mp4`, and the same frames as `<output>/<clip>_hdr/000000.png` and so on.

    Args:
        entry: Its task names the network.
        checkpoint: Weights; None: the best ones of the entry's newest run.
        runs: Folder where runs are kept.
        source: SDR video or folder of frames; None: the demo clip.
        output: Folder to write to; None: `predictions` in the folder of the run that the checkpoint is from.
        assume: What the colour tags are that the source lacks, see `vitm.conversion.Reading`.
        fps: Frame rate of a folder of frames; None: 24.
        device: Where the network runs; None: the first GPU, or the CPU.

    Raises:
        FileNotFoundError: There is no run of the entry, or no source.
        ValueError: An option is wrong, see `vitm.convert`.
    """
    checkpoint = checkpoint or best_checkpoint(newest_run(entry, runs, "checkpoints/*.ckpt"))
    if source is None:
        from vitm.data import HDR10Triplets

        source = HDR10Triplets.demo_root() / "test_clip" / "sdr"
    output = output or checkpoint.resolve().parents[1] / "predictions"
    video, frames = output / f"{source.stem}_hdr.mp4", output / f"{source.stem}_hdr"
    network, reading = entry.load_task().name, Reading(assume=assume, fps=fps)
    output.mkdir(parents=True, exist_ok=True)
    try:
        return convert(
            source,
            video,
            network,
            checkpoint=checkpoint,
            device=device,
            reading=reading,
            frames_folder=frames,
            overwrite=True,
        )
    finally:
        with suppress(OSError):  # bad input leaves no empty folder; one that holds something stays
            output.rmdir()
