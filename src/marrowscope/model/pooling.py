"""RoIAlign (He et al. 2017) as a weighted sum of rows, for maps that lie in memory pixel by pixel.

torchvision's operator for the CPU wants maps plane by plane: it copies `channels_last` maps, then gathers each channel
of each sample from afar, and its backward pass scatters likewise on one thread. Where a map is a table with one row of
C channels a pixel, a bin is the sum of 4 x samples^2 weighted rows: `embedding_bag`, vectorised and on all threads, in
both directions. On a GPU torchvision's own operator runs.
"""

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper


class RowPool(MultiScaleRoIAlign):
    """torchvision's `MultiScaleRoIAlign`, to rounding; maps are named by their stride, which doubles from each to next.

    The gradient goes to the maps; boxes are constants, as in Faster R-CNN.
    """

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Features (R, C, bins, bins) of the boxes of all images, in order.

        x: maps (B, C, h, w) by stride, fine to coarse. boxes: (r, 4) of each image, in pixels of the input.
        """
        maps = [x[name] for name in self.featmap_names]
        if maps[0].device.type != "cpu" or maps[0].dtype != torch.float32:
            return super().forward(x, boxes, image_shapes)
        strides = torch.tensor([int(name) for name in self.featmap_names])
        heights, widths = (torch.tensor([m.shape[side] for m in maps]) for side in (2, 3))
        channels = maps[0].shape[1]
        table = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, channels) for m in maps])
        areas = heights * widths
        level_starts = (areas * len(maps[0])).cumsum(0) - areas * len(maps[0])

        with torch.no_grad():
            finest, coarsest = (int(strides[i]).bit_length() - 1 for i in (0, -1))
            level = LevelMapper(finest, coarsest, self.canonical_scale, self.canonical_level)(boxes)
            image = torch.repeat_interleave(torch.tensor([len(b) for b in boxes]))
            scaled = torch.cat(boxes) / strides[level, None]
            columns, across = _taps(scaled[:, 0], scaled[:, 2], widths[level], self.output_size[1], self.sampling_ratio)
            rows, down = _taps(scaled[:, 1], scaled[:, 3], heights[level], self.output_size[0], self.sampling_ratio)
            start = level_starts[level] + image * areas[level]
            # (R, bins down, bins across, taps down, taps across)
            entry = rows[:, :, None, :, None] * widths[level, None, None, None, None] + columns[:, None, :, None, :]
            entry += start[:, None, None, None, None]
            weight = down[:, :, None, :, None] * across[:, None, :, None, :]
            count, bins, taps = len(level), self.output_size[0] * self.output_size[1], rows.shape[2] * columns.shape[2]
        pooled = torch.nn.functional.embedding_bag(
            entry.view(count * bins, taps), table, mode="sum", per_sample_weights=weight.view(count * bins, taps)
        )
        return pooled.view(count, bins, channels).transpose(1, 2).reshape(count, channels, *self.output_size)


def _taps(low: Tensor, high: Tensor, length: Tensor, bins: int, samples: int) -> tuple[Tensor, Tensor]:
    """Where along one axis a box (R,) from `low` to `high` is read: pixels (R, bins, 2 x samples), and their weights.

    low, high: in pixels of the map. length: pixels of the map along this axis. A sample more than a pixel outside the
    map counts as 0; nearer ones are read at the border.
    """
    step = (high - low).clamp(min=1) / bins
    place = torch.arange(bins * samples).view(bins, samples)
    offset = place // samples + (place % samples + 0.5) / samples
    at = low[:, None, None] + offset * step[:, None, None]
    last = (length - 1)[:, None, None]
    inside = (at >= -1) & (at <= last + 1)
    at = at.clamp(min=0).minimum(last)
    before = at.floor()
    after = (before + 1).minimum(last)
    share = at - before
    weights = torch.stack([1 - share, share], dim=-1) * (inside[..., None] / samples)
    return torch.stack([before, after], dim=-1).long().flatten(2), weights.flatten(2)
