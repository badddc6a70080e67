"""What networks offer to those who convert clips."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitm.baselines.clip_network import ClipNetwork
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
from vitm.zoo import NETWORKS, network_class

STREAMING = {"deephdr", "dslnet", "hdrunet", "kpn_itm", "kpn_mfi", "srresnet", "vitm_tc"}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_offer_what_they_are(name):
    """Those of clips stream; those of windows have a radius; VITM-TC alone gives light, and keeps frames on disk."""
    network = network_class(name)()
    assert isinstance(network, StreamingNetwork) is (name in STREAMING)
    assert isinstance(network, WindowNetwork) is (name in ("dslnet", "srresnet"))
    assert isinstance(network, LinearNetwork) is isinstance(network, SpillingNetwork) is (name == "vitm_tc")
    assert (context(network) > 0) is (name in ("dslnet", "kpn_mfi", "vitm_tc"))
    assert not isinstance(network, ClipNetwork) or network.mfi is None


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
