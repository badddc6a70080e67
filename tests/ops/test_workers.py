from __future__ import annotations

import threading

import pytest
import torch

from vitm.ops.workers import workers

LARGE, SMALL, META = torch.empty(2**18), torch.empty(2**17), torch.empty(2**18, device="meta")


@pytest.fixture(autouse=True)
def _three_threads():
    torch.set_num_threads(3)  # the directory's fixture restores the number


@pytest.mark.parametrize(
    ("like", "threads"), [(LARGE, 3), (SMALL, 1), (LARGE.to("meta"), 1)], ids=["large", "small", "meta"]
)
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_parts_make_up_the_range_in_order(like, threads, n):
    with workers(like) as share:
        parts = share(lambda part: torch.arange(n)[part], n)
    assert len(parts) == min(n, threads)
    assert torch.equal(torch.cat(parts), torch.arange(n))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_and_threads(mode):
    seen = []

    def look(part):
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()))
        return torch.zeros(1)

    with mode(), workers(LARGE) as share:
        share(look, 3)
    assert seen == [(False, mode is torch.inference_mode, 1)] * 3
    assert torch.get_num_threads() == 3
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]


def test_errors_come_through():
    def fail(part):
        raise RuntimeError("in a worker")

    with pytest.raises(RuntimeError, match="in a worker"), workers(LARGE) as share:
        share(fail, 3)
    assert torch.get_num_threads() == 3
