from __future__ import annotations

import pytest
import torch

from benchmarks import vitm_tc


@pytest.mark.parametrize(("form", "expected"), [("pipeline", 0.5 + 0.25), ("icam", 0.5 + 2.0)])
def test_the_benchmark_counts_what_the_network_does_and_not_how_its_frames_are_made(monkeypatch, form, expected):
    """A clock of our own: a frame takes 8 seconds to make and half a second to store, a key 2, the rest 1/4 a frame."""
    now = [100.0]

    def spend(seconds):
        now[0] += seconds

    def clip(n, size):
        for _ in range(n):
            spend(8.0)
            yield torch.zeros(1, 3, *size)

    class Store(dict):
        def __init__(self, folder):
            super().__init__()

        def __setitem__(self, entry, frame):
            spend(0.5)
            super().__setitem__(entry, frame)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    class Network(torch.nn.Module):
        def __init__(self, flow):
            super().__init__()

        def stream(self, frames, folder):
            with Store(folder) as store:
                for t, frame in enumerate(frames):
                    store["ldr", t] = frame
                for frame in store.values():
                    spend(0.25)
                    yield frame

        def _reconstruct_keys(self, store, keys):
            spend(2.0 * len(keys))

    monkeypatch.setattr(vitm_tc.time, "process_time", lambda: now[0])
    monkeypatch.setattr(vitm_tc, "clip", clip)
    monkeypatch.setattr(vitm_tc, "Spill", Store)
    monkeypatch.setattr(vitm_tc, "VITMTC", Network)
    assert vitm_tc.measure(form, (16, 16), 24, 8, "zero", "paper")["seconds"] == pytest.approx(expected)
