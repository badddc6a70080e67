"""One pair of an SDR and an HDR10 video -> its samples on disk, and the record of how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

from vitm.data.prepare.matching import match, same_rate
from vitm.data.prepare.record import Record, Tell
from vitm.data.prepare.samples import Cutting, Sample, plan_samples, tile_regions
from vitm.data.prepare.sources import VideoPair
from vitm.data.prepare.survey import Survey, survey_video
from vitm.data.prepare.writing import DONE, Done, tidy, write_samples
from vitm.files import digest
from vitm.video import FrameReader, probe

_TAGS = {"matrix": "matrix", "range": "full_range", "transfer": "transfer", "primaries": "primaries"}


def prepare_pair(
    pair: VideoPair,
    name: str,
    root: Path,
    work: Path,
    cutting: Cutting,
    *,
    resample: bool = False,
    whole_if_small: bool = False,
    tell: Tell = lambda what, done, of: None,
) -> Record:
    """Check a pair and write its samples; interrupted, the same call goes on where it stopped.

    The column of a video tells what its missing colour tags are: BT.709, or BT.2020 with PQ, in narrow range.

    Args:
        pair: The two videos.
        name: Beginning of the files' names.
        root: Folder of the samples, which go to `root/sdr` and `root/hdr`, see `Cutting`.
        work: Folder for unfinished work on the same disk; made if it is missing.
        cutting: The way samples are taken.
        resample: Match frames of videos of different frame rates by their times, instead of refusing them.
        whole_if_small: Keep pictures whole that are smaller than the tiles, instead of refusing them.
        tell: Function that is called as the work goes on; an error that it raises ends the work.

    Returns:
        The pair's record in the manifest: both files and how they were decoded, `offset_frames`, `picture`, `samples`,
        `rejected` and `files` with their SHA-256.

    Raises:
        FileNotFoundError: A video is missing.
        VideoTagError: A video is not what its column says.
        VideoDecodeError: A video is damaged, or none.
        ValueError: The videos differ in size or frame rate, do not show the same frames, or no sample is left.
        WriteError: There is no room, or no permission.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (
        FrameReader(pair.sdr, expect="sdr", assume="bt709") as sdr,
        FrameReader(pair.hdr, expect="hdr10", assume="bt2020-pq") as hdr,
    ):
        check_alike(sdr, hdr, resample)
        fps = sdr.info.fps or Fraction(0), hdr.info.fps or Fraction(0)
        seen = _surveyed(sdr, work / "sdr.npz", "SDR", tell), _surveyed(hdr, work / "hdr.npz", "HDR", tell)
        matched = match(*seen, fps, pair.offset, cutting.frames)
        samples = plan_samples(*seen, matched, float(min(fps)), cutting)
        rows, columns = matched.picture
        size = rows.stop - rows.start, columns.stop - columns.start
        whole = whole_if_small and (cutting.tile_size or 0) > min(size)
        tiles = tile_regions(matched.picture, None if whole else cutting.tile_size, cutting.tile_stride)
        good, done = [s for s in samples if not s.fault], Done(work / DONE)
        if not good:
            raise ValueError(f"no sample is left of {len(samples)} ({_counted(samples)})")
        tidy(work)
        left = [s for s in good if s.frame not in done.files]
        tell("writing", len(good) - len(left), len(good))
        try:
            for sample, checksums in write_samples(sdr, hdr, left, tiles, name, root, work):
                done.add(sample.frame, checksums)
                tell("writing", len(done.files), len(good))
        except ValueError:
            done.remove(root)
            raise
        return {
            "sdr": _about(sdr),
            "hdr": _about(hdr),
            "offset_frames": int(matched.offset) if matched.offset.denominator == 1 else float(matched.offset),
            "offset_from": "content" if pair.offset is None else "pairs file",
            "motion_correlation": round(matched.motion, 4),
            "matched_frames": len(matched),
            "picture": {"x": columns.start, "y": rows.start, "width": size[1], "height": size[0]},
            "tiles": [
                {"x": tile[1].start, "y": tile[0].start, "size": cutting.tile_size}
                for tile in tiles.values()
                if tile != matched.picture
            ],
            **asdict(cutting),
            "samples": [s.frame for s in good],
            "rejected": [{"hdr_frame": s.frame, "reason": s.fault} for s in samples if s.fault],
            "files": {file: digest for s in good for file, digest in done.files[s.frame].items()},
        }


def check_alike(sdr: FrameReader, hdr: FrameReader, resample: bool) -> None:
    """Raise ValueError if the videos differ in size, or in frame rate without `resample`."""
    a, b = sdr.info, hdr.info
    if (a.width, a.height) != (b.width, b.height):
        raise ValueError(f"they differ in size: SDR {a.width}x{a.height}, HDR {b.width}x{b.height}; expected one size")
    if not (a.fps and b.fps):
        raise ValueError("one of them has no frame rate; remux it with its frame rate")
    if not resample and not same_rate(a.fps, b.fps):
        raise ValueError(
            f"they differ in frame rate: SDR {float(a.fps):.6g}, HDR {float(b.fps):.6g} frames/s; resample to match "
            "them by time (vitm prepare: --resample)"
        )


def _surveyed(reader: FrameReader, kept: Path, kind: str, tell: Tell) -> Survey:
    """Return the survey of a video, or that of an interrupted run."""
    if kept.is_file():
        return Survey.load(kept)
    seen = 0

    def on_frame() -> None:
        nonlocal seen
        seen += 1
        tell(f"reading {kind}", seen, len(reader))

    survey = survey_video(reader, on_frame)
    survey.save(kept)
    return survey


def _about(reader: FrameReader) -> Record:
    """Describe a video: what it is, and how its codes were read."""
    info, tagged = reader.info, probe(reader.info.path)
    return {
        "bytes": info.path.stat().st_size,
        "sha256": digest(info.path),
        "width": info.width,
        "height": info.height,
        "frames": info.n_frames,
        "fps": str(info.fps),
        "decoded_as": {
            "pixel_format": info.pixel_format,
            "bit_depth": info.bit_depth,
            "matrix": info.matrix,
            "range": "full" if info.full_range else "limited",
            "transfer": info.transfer,
            "primaries": info.primaries,
            "chroma": info.chroma,
            "chroma_location": info.chroma_location,
            "assumed_for_lack_of_tags": [name for name, tag in _TAGS.items() if getattr(tagged, tag) is None],
        },
    }


def _counted(samples: Sequence[Sample]) -> str:
    counts = Counter((s.fault or "written").partition(":")[0] for s in samples)
    return ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "too short"
