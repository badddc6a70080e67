"""Pixel2Pixel and CycleGAN: the generator against the authors' layers, losses by hand, the pool of pictures."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from vitm.baselines.cyclegan import CycleGAN, ImagePool
from vitm.baselines.pixel2pixel import Pixel2Pixel
from vitm.baselines.translation_task import CycleGANTask, Pixel2PixelTask
from vitm.data import HDR10Frames
from vitm.data.fake.frames import write_fake_triplets
from vitm.training.optimizers import scheduled
from vitm.zoo import load_network


class Block(nn.Module):
    def __init__(self, width: int, dropout: bool) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Published(nn.Module):
    """Johnson's generator with the names that the authors' files have."""

    def __init__(self, width: int, dropout: bool) -> None:
        super().__init__()

        def normed(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, nn.InstanceNorm2d(channels), nn.ReLU()]

        n = width
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *normed(nn.Conv2d(3, n, 7), n),
            *normed(nn.Conv2d(n, 2 * n, 3, 2, 1), 2 * n),
            *normed(nn.Conv2d(2 * n, 4 * n, 3, 2, 1), 4 * n),
            *(Block(4 * n, dropout) for _ in range(9)),
            *normed(nn.ConvTranspose2d(4 * n, 2 * n, 3, 2, 1, 1), 2 * n),
            *normed(nn.ConvTranspose2d(2 * n, n, 3, 2, 1, 1), n),
            nn.ReflectionPad2d(3),
            nn.Conv2d(n, 3, 7),
            nn.Tanh(),
        )


@pytest.mark.parametrize(("name", "dropout"), [("pixel2pixel", True), ("cyclegan", False)])
def test_published_layout(name: str, dropout: bool, tmp_path: Path, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    published = Published(4, dropout).eval()
    torch.save(published.state_dict() | {"model.2.running_mean": torch.zeros(4)}, tmp_path / "latest_net_G.pth")
    network = load_network(name, tmp_path / "latest_net_G.pth")
    sdr = torch.rand(2, 3, 32, 40, generator=rng)
    with torch.no_grad():
        expected = (published.model(2 * sdr - 1) + 1) / 2
        assert float(expected.std()) > 0.01
        torch.testing.assert_close(network(sdr), expected, rtol=1e-4, atol=1e-5)
    assert network.train().blocks[0].dropout.__class__ is (nn.Dropout if dropout else nn.Identity)


@pytest.mark.parametrize("made", [Pixel2Pixel, CycleGAN])
def test_size_and_any_frame(made: type[Pixel2Pixel], rng: torch.Generator) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in made().parameters()) == 11_378_179
    network = made(width=4, blocks=1).eval()
    for size in ((5, 5), (33, 46)):
        sdr = torch.rand(1, 3, *size, generator=rng)
        assert network(sdr).shape == sdr.shape
    with pytest.raises(ValueError, match=r"H and W >= 5, got \(1, 3, 4, 9\)"):
        network(torch.zeros(1, 3, 4, 9))


def logits_loss(x: Tensor, real: float) -> Tensor:
    p = torch.sigmoid(x)
    return -(real * p.log() + (1 - real) * (1 - p).log()).mean()


def test_pixel2pixel_losses(rng: torch.Generator) -> None:
    """Equation 4, with the cross-entropy written out; the discriminator sees pairs in [-1, 1]."""
    torch.manual_seed(0)
    task = Pixel2PixelTask(width=4, blocks=1, dropout=False)
    sdr, hdr = torch.rand(2, 3, 40, 40, generator=rng), torch.rand(2, 3, 40, 40, generator=rng)
    losses = task.losses({"sdr": sdr, "hdr_pq": hdr})
    fake = task.network(sdr)
    on_fake, on_real = (task.discriminator(torch.cat([sdr, y], 1) * 2 - 1) for y in (fake, hdr))
    l1 = (fake - hdr).abs().mean()
    torch.testing.assert_close(losses["loss"], logits_loss(on_fake, 1) + 100 * l1)
    torch.testing.assert_close(losses["discriminator"], (logits_loss(on_real, 1) + logits_loss(on_fake, 0)) / 2)
    losses["discriminator"].backward(retain_graph=True)
    assert all(p.grad is None for p in task.network.parameters())
    task.discriminator.zero_grad(set_to_none=True)
    losses["loss"].backward()
    assert all(p.grad is None for p in task.discriminator.parameters())
    assert all(p.grad is not None for p in task.network.parameters())


def test_cyclegan_losses(rng: torch.Generator) -> None:
    """Equations 1 to 3 with least squares (section 4), and the identity of section 5.2; nothing compares a pair."""
    torch.manual_seed(0)
    task = CycleGANTask(width=4, blocks=1)
    sdr, hdr = torch.rand(2, 3, 40, 40, generator=rng), torch.rand(2, 3, 40, 40, generator=rng)
    losses = task.losses({"sdr": sdr, "hdr_pq": hdr})
    g, f, d = task.network, task.back, task.discriminator

    def squares(judge: str, x: Tensor, real: float) -> Tensor:
        return ((d[judge](2 * x - 1) - real) ** 2).mean()

    gan = squares("hdr", g(sdr), 1) + squares("sdr", f(hdr), 1)
    cycle = (f(g(sdr)) - sdr).abs().mean() + (g(f(hdr)) - hdr).abs().mean()
    identity = (g(hdr) - hdr).abs().mean() + (f(sdr) - sdr).abs().mean()
    torch.testing.assert_close(losses["loss"], gan + 10 * cycle + 5 * identity)
    judged = [squares("hdr", hdr, 1), squares("hdr", g(sdr), 0), squares("sdr", sdr, 1), squares("sdr", f(hdr), 0)]
    torch.testing.assert_close(losses["discriminator"], sum(judged) / 2)
    torch.testing.assert_close(task.losses({"sdr": sdr, "hdr_pq": hdr[[1, 0]]})["loss"], losses["loss"])
    assert {id(p) for p in task.generators().parameters()} == {id(p) for n in (g, f) for p in n.parameters()}


def test_the_pool_gives_old_pictures_half_of_the_time() -> None:
    """Against numbers in slots, with the same draws."""
    size, n = 5, 400
    torch.manual_seed(7)
    pool = ImagePool(size)
    given = [int(x) for batch in torch.arange(n).view(-1, 2) for x in pool(batch.view(2, 1, 1, 1).float()).flatten()]
    torch.manual_seed(7)
    slots: dict[int, int] = {}
    expected = []
    for number in range(n):
        if number < size:
            slots[number] = number
            expected.append(number)
        elif float(torch.rand(())) < 0.5:
            slot = int(torch.randint(0, size, ()))
            expected.append(slots[slot])
            slots[slot] = number
        else:
            expected.append(number)
    assert given == expected
    assert given[:size] == [*range(size)]
    assert 0.4 < sum(a != b for a, b in zip(given, range(n), strict=True)) / n < 0.6


def test_a_checkpoint_keeps_the_pool(tmp_path: Path) -> None:
    task = CycleGANTask(width=4, blocks=1, pool=3)
    pictures = torch.arange(3.0).view(3, 1, 1, 1)
    task.pools["hdr"](pictures)
    torch.save(task.state_dict(), tmp_path / "last.ckpt")
    resumed = CycleGANTask(width=4, blocks=1, pool=3)
    resumed.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True))
    assert torch.equal(resumed.pools["hdr"].get_extra_state(), pictures)
    assert len(resumed.pools["sdr"].get_extra_state()) == 0
    assert all(isinstance(value, Tensor) for value in task.state_dict().values())


@pytest.mark.slow
def test_a_resumed_run_is_an_undisturbed_one(tmp_path: Path) -> None:
    """Bit for bit, in all four networks and in both pools."""
    root = write_fake_triplets(tmp_path / "data", n=4)

    def fit(steps: int, checkpoint: Path | None = None) -> tuple[CycleGANTask, L.Trainer]:
        torch.manual_seed(0)
        task = CycleGANTask(width=4, blocks=1, pool=2, schedule="constant")
        data = HDR10Frames(str(root), crop_size=40, batch_size=2, num_workers=0)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        trainer = L.Trainer(
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **quiet,
        )
        trainer.fit(task, data, ckpt_path=checkpoint)
        return task, trainer

    _, stopped = fit(3)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    ours, theirs = (fit(6, path)[0].state_dict() for path in (tmp_path / "last.ckpt", None))
    for key, value in theirs.items():
        assert torch.equal(value, ours[key]), key
    assert len(theirs["pools.hdr._extra_state"]) == 2


def test_the_linear_schedule_falls_after_half_of_the_steps() -> None:
    made = scheduled(torch.optim.Adam([nn.Parameter(torch.zeros(1))], 1.0), "linear", 8)
    rates = []
    for _ in range(9):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    with pytest.raises(ValueError, match="schedule=linear needs an end"):
        scheduled(torch.optim.Adam([nn.Parameter(torch.zeros(1))], 1.0), "linear")
