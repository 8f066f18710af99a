"""Affine and elastic deformation of an image and its labels together, in one resampling, for 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from kornia.geometry.transform import get_affine_matrix2d, get_affine_matrix3d
from torch import Tensor, nn
from torch.nn import functional

from unetzoo.training.augmentation.config import Affine, Elastic


class Warp(nn.Module):
    """Deforms images (N, C, *spatial) and their labels (N, *spatial).

    Images are interpolated linearly and mirrored where the deformation looks beyond their edges; labels are of the
    nearest pixel, and the ignore index there. What is drawn comes from torch's generator of the CPU on any device.
    """

    def __init__(self, affine: Affine | None, elastic: Elastic | None, ignore_index: int) -> None:
        super().__init__()
        self.affine = affine
        self.elastic = elastic
        self.ignore_index = ignore_index

    def forward(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Deform a batch, each image in its own way."""
        count, size = image.shape[0], image.shape[2:]
        positions = _positions(size, image.device).expand(count, *size, -1)
        if self.elastic is not None:
            positions = positions + draw_elastic(self.elastic, count, size).to(image.device)
        if self.affine is not None:
            back = torch.linalg.inv(draw_affine(self.affine, count, size)).to(image.device)
            shape = (count, *[1] * len(size), len(size), len(size))
            positions = (back[:, :-1, :-1].reshape(shape) @ positions[..., None])[..., 0]
            positions = positions + back[:, :-1, -1].reshape(count, *[1] * len(size), -1)

        extents = torch.tensor(size[::-1], device=image.device)
        grid = 2 * positions / (extents - 1).clamp_min(1) - 1
        warped = functional.grid_sample(image.float(), grid, "bilinear", "reflection", align_corners=True)
        # Beyond the edges the sampling gives zero, which is no label once all are raised by one.
        raised = functional.grid_sample((target + 1).float()[:, None], grid, "nearest", "zeros", align_corners=True)
        labels = raised[:, 0].round().long() - 1
        return warped.to(image.dtype), torch.where(labels < 0, self.ignore_index, labels)


def draw_elastic(elastic: Elastic, count: int, size: Sequence[int]) -> Tensor:
    """Displacements (N, *spatial, ndim) in pixels, the last axis being width first, as random ones of the CPU."""
    ndim = len(size)
    field = torch.randn(count, ndim, *[elastic.grid] * ndim) * elastic.deviation
    field = field * _chosen(elastic.probability, count).reshape(-1, *[1] * (ndim + 1))
    # Cubic interpolation is separable, so volumes take it axis by axis as well.
    for axis, extent in enumerate(size, start=2):
        last = field.movedim(axis, -1)
        rows = last.reshape(1, 1, -1, last.shape[-1])
        rows = functional.interpolate(rows, (rows.shape[2], extent), mode="bicubic", align_corners=True)
        field = rows.reshape(*last.shape[:-1], extent).movedim(-1, axis)
    return field.movedim(1, -1)


def draw_affine(affine: Affine, count: int, size: Sequence[int]) -> Tensor:
    """Matrices (N, ndim + 1, ndim + 1) that take a position, width first, to where it is moved."""
    ndim = len(size)
    extents = torch.tensor([float(extent) for extent in reversed(size)])
    chosen = _chosen(affine.probability, count)
    center = ((extents - 1) / 2).expand(count, ndim)
    scale = 1 + (_between(*affine.scale, count) - 1) * chosen
    shift = _between(-affine.translate, affine.translate, count, ndim) * extents * chosen[:, None]
    scales = scale[:, None].expand(count, ndim)
    if ndim == 2:
        largest = affine.degrees if isinstance(affine.degrees, float) else affine.degrees[0]
        angle = _between(-largest, largest, count) * chosen
        shear = torch.deg2rad(_between(-affine.shear, affine.shear, count, 2)) * chosen[:, None]
        return get_affine_matrix2d(shift, center, scales, angle, shear[:, 0], shear[:, 1])
    degrees = [affine.degrees] * ndim if isinstance(affine.degrees, float) else affine.degrees
    limits = torch.tensor(degrees[::-1])
    return get_affine_matrix3d(shift, center, scales, _between(-1, 1, count, ndim) * limits * chosen[:, None])


def _positions(size: Sequence[int], device: torch.device) -> Tensor:
    axes = [torch.arange(extent, dtype=torch.float32, device=device) for extent in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def _between(low: float, high: float, *shape: int) -> Tensor:
    return torch.empty(shape).uniform_(low, high) if low < high else torch.full(shape, float(low))


def _chosen(probability: float, count: int) -> Tensor:
    return (torch.rand(count) < probability).float()
