"""OperatorMap: which tone operators may have made this picture, and the mean of what their inverses make of it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.papers.scene_map.bars import picture_bounds, without_bars
from vitm.papers.scene_map.edges import EDGE_STATISTICS, edge_statistics
from vitm.papers.scene_map.network import STATISTICS, SceneColors, contrast, statistics, thumbnail
from vitm.papers.scene_map.operators import OPERATORS, operator_tables

_EXTREME = 4.0  # deviations beyond which a number says no more
_LIKENESS = 0.6  # the lower it is, the less another scene of the clip counts whose shares are other ones


class _Standardise(nn.BatchNorm1d):
    """Batch normalisation without weights, by all batches so far; a sample alone is normalised by those."""

    def __init__(self, count: int) -> None:
        super().__init__(count, eps=1e-6, momentum=None, affine=False)

    def forward(self, numbers: Tensor) -> Tensor:
        if self.training and len(numbers) > 1:
            return super().forward(numbers)
        return F.batch_norm(numbers, self.running_mean, self.running_var, eps=self.eps)


class OperatorMap(SceneColors):
    """SDR to HDR10 by the inverses of `OPERATORS`, each as far as the picture speaks for it.

    Statistics of the picture and of its edges are standardised and read by a small network, which gives each operator a
    share. The colour map is the mean of their tables by these shares. All tables leave the same grey, so mid-tones lie
    where those of the SDR lie when its white is shown at 203 cd/m2.

    A film is usually made in one way: what one scene leaves open, others tell. So frames from all over a clip, which
    `survey` has seen, have a say in the shares of each of its scenes.

    Args:
        hidden: channels of the layers that read the statistics.
        dropout: share of these channels that a training step leaves out.
        noise: standard deviation of what training adds to each number, in its own deviations: pictures of other
            material than the training's differ so.
        table_size: vertices along each axis of the table that applies the map.
        smoothing: number of frames before a frame, of the same scene, that its vector is averaged with. The scene's
            first one stands for those before it. A production lasts, so four seconds: less flickers on still pictures.

    Example:
        >>> network = OperatorMap().eval()
        >>> network(torch.rand(1, 3, 54, 96)).shape
        torch.Size([1, 3, 54, 96])
    """

    steady_start = True

    def __init__(
        self,
        hidden: int = 96,
        dropout: float = 0.4,
        noise: float = 0.7,
        table_size: int = 33,
        smoothing: int = 96,
    ) -> None:
        super().__init__(smoothing)
        self.table_size, self.noise = table_size, noise
        count = STATISTICS + EDGE_STATISTICS
        self.standardise = _Standardise(count)
        self.recognise = nn.Sequential(
            *(nn.Linear(count, hidden), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)),
            nn.Linear(hidden, len(OPERATORS)),
        )
        self._seen: tuple[Tensor, Tensor] | None = None  # (N, operators) and (1, N): vectors of the clip, and weights

    def numbers(self, sdr: Tensor) -> Tensor:
        """Return the statistics of pictures and of their edges, without bars: (B, 3, H, W) -> (B, numbers)."""
        sdr = sdr.float()
        bounds = picture_bounds(sdr)
        if sdr.device.type != "cpu" or torch.compiler.is_compiling():  # the host does not know the bounds
            return self._numbers(sdr, bounds)
        if bool((bounds == bounds.new_tensor([0, sdr.shape[2], 0, sdr.shape[3]])).all()):
            return self._numbers(sdr)
        return torch.cat([self._numbers(picture) for picture in without_bars(sdr, bounds)])

    def _numbers(self, sdr: Tensor, bounds: Tensor | None = None) -> Tensor:
        return torch.cat((statistics(thumbnail(sdr, bounds)), edge_statistics(sdr, self.table_size, bounds)), 1)

    def describe(self, sdr: Tensor) -> Tensor:
        """Return the logarithms of the operators' shares, up to a constant: (B, 3, H, W) -> (B, operators)."""
        numbers = self.standardise(self.numbers(sdr))
        if self.training:
            numbers = numbers + self.noise * torch.randn_like(numbers)
        logits: Tensor = self.recognise(0.5 * numbers.clamp(-_EXTREME, _EXTREME))
        return logits

    def survey(self, frames: Iterable[Tensor]) -> None:
        """Look at frames from all over a clip, before its scenes are converted by `stream`; none to forget it.

        Args:
            frames: sdr (1, 3, H, W) each.
        """
        seen = [(self.describe(sdr), contrast(sdr)) for sdr in frames]
        if not seen:
            self._seen = None
            return
        vectors, contrasts = (torch.cat(x) for x in zip(*seen, strict=True))
        self._seen = vectors, (contrasts / contrasts.amax()).mT

    def in_clip(self, code: Tensor) -> Tensor:
        """Return the mean of a scene's vector and those of the clip: (B, operators) -> (B, operators).

        Each counts by its contrast and by its likeness, the Bhattacharyya coefficient of both shares: parts of a clip
        that were made in other ways count less.
        """
        if self._seen is None:
            return code
        vectors, weights = self._seen
        overlap = (code.log_softmax(1).unsqueeze(1) + vectors.log_softmax(1)) / 2
        weights = weights * (overlap.logsumexp(2) / _LIKENESS).exp()
        return (code + weights @ vectors) / (1 + weights.sum(1, keepdim=True))

    def table(self, code: Tensor) -> Tensor:
        """Return the colour map as a table: (B, operators) -> (B, 3, N, N, N), PQ code at [..., b, g, r]."""
        size = self.table_size
        mixed: Tensor = code.softmax(1) @ operator_tables(size, code.device).flatten(1)
        return mixed.view(-1, 3, size, size, size)
