"""KPN-MFI on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from vitm.papers.kpn_mfi import KPNMFI
from vitm.papers.kpn_mfi.task import KPNMFITask

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_output_is_that_of_the_cpu():
    torch.manual_seed(0)
    network = KPNMFI(width=16, trunk=(1, 1, 1, 1, 1)).eval()
    clip = torch.rand(1, 3, 3, 72, 104)
    with torch.no_grad():
        expected = network(clip)
        out = network.cuda()(clip.cuda()).cpu()
    torch.testing.assert_close(out, expected, atol=1e-3, rtol=1e-3)  # TF32 convolutions


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_step(dtype):
    """Losses stay fp32 and finite, and every parameter of the loss's path gets a finite gradient."""
    task = KPNMFITask(width=16, trunk=(1, 1, 1, 1, 1)).cuda()
    task.prepare_fit()
    sdr, hdr = (torch.rand(2, 3, 3, 64, 64, device="cuda") for _ in range(2))
    with torch.autocast("cuda", dtype=dtype):
        prediction = task.network(sdr)
        loss = torch.nn.functional.l1_loss(prediction, hdr) + task.alpha * task.consistency_loss(prediction, sdr)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
