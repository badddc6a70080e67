"""What networks offer to those who convert clips."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitm.nets.interface import (
    LinearNetwork,
    SpillingNetwork,
    StreamingNetwork,
    WindowNetwork,
    as_hdr_pq,
    context,
    stream,
)
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.zoo import network_class


@pytest.mark.parametrize(
    ("name", "streams", "has_windows", "gives_light", "looks_back"),
    [
        ("csrnet", False, False, False, False),
        ("dslnet", True, True, False, True),
        ("hdcfm", False, False, False, False),
        ("hdrunet", True, False, False, False),
        ("kpn_mfi", True, False, False, True),
        ("operator_map", True, False, False, True),
        ("scene_map", True, False, False, True),
        ("srresnet", True, True, False, False),
        ("vitm_tc", True, False, True, True),
    ],
)
def test_networks_offer_what_they_are(name, streams, has_windows, gives_light, looks_back):
    """Those of clips stream; those of windows have a radius; VITM-TC gives light, and keeps frames on disk."""
    network = network_class(name)()
    assert isinstance(network, StreamingNetwork) is streams
    assert isinstance(network, WindowNetwork) is has_windows
    assert isinstance(network, LinearNetwork) is isinstance(network, SpillingNetwork) is gives_light
    assert (context(network) > 0) is looks_back


def test_a_plain_module_is_a_network_of_single_frames(rng):
    network = nn.Conv2d(3, 3, 1)
    frames = torch.rand(4, 1, 3, 6, 8, generator=rng)
    outputs = list(stream(network, frames))
    assert context(network) == 0
    assert torch.equal(torch.stack(outputs), torch.stack([network(frame) for frame in frames]))
    assert as_hdr_pq(network, frames) is frames


def test_light_becomes_code(rng):
    light = torch.rand(1, 3, 6, 8, generator=rng)
    assert torch.equal(as_hdr_pq(network_class("vitm_tc")(), light), to_hdr_pq(light))


def test_a_stream_must_say_how_far_it_looks_back():
    class Stream(nn.Module):
        def stream(self, frames):
            return iter(frames)

    with pytest.raises(TypeError, match="set the attribute `context`"):
        context(Stream())
