"""The border weight map of U-Net and the cross-entropy it weights (Ronneberger et al. 2015, section 3, eq. 1 and 2)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from unetzoo.errors import InputError
from unetzoo.training.losses.targets import class_indices, masked_mean, valid_mask


def border_weight_map(
    instances: np.ndarray,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    balance_classes: bool = True,
    ignore_index: int | None = None,
) -> np.ndarray:
    """Weight of every pixel: class balance plus `w0 * exp(-(d1 + d2)^2 / (2 sigma^2))` in the background.

    `d1` and `d2` are the distances, in pixels, to the nearest and the second nearest object, so that the narrow gaps
    between touching objects weigh most. With fewer than two objects that term is zero. The class balance gives
    foreground and background the same total weight, with a mean of one over the pixels that count.

    Args:
        instances: integers, `(H, W)` or `(D, H, W)`; zero is background, every other value one object.
        w0: weight of the border term; the paper uses 10.
        sigma: its reach in pixels; the paper uses about 5.
        balance_classes: without it every pixel starts from one.
        ignore_index: value of pixels that get the weight zero and belong to no object.

    Returns:
        float32, the shape of `instances`.

    Raises:
        InputError: `instances` is no array of integers with two or three axes.
    """
    instances = np.asarray(instances)
    if instances.ndim not in (2, 3) or not np.issubdtype(instances.dtype, np.integer):
        raise InputError(
            f"instances is {instances.dtype} of shape {instances.shape}; expected integers (H, W) or (D, H, W), "
            "zero for background and one value an object"
        )
    valid = np.ones(instances.shape, dtype=bool) if ignore_index is None else instances != ignore_index
    foreground = valid & (instances != 0)
    weights = _class_balance(foreground, valid) if balance_classes else np.ones(instances.shape)
    nearest, second = _two_nearest_objects(instances, foreground)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    weights = weights + np.where(foreground, 0.0, border)
    return np.where(valid, weights, 0.0).astype(np.float32)


def _class_balance(foreground: np.ndarray, valid: np.ndarray) -> np.ndarray:
    share = foreground.sum() / max(valid.sum(), 1)
    if share in (0, 1):
        return np.ones(foreground.shape)
    return np.where(foreground, 0.5 / share, 0.5 / (1 - share))


def _two_nearest_objects(instances: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nearest = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    for label in np.unique(instances[foreground]):
        distance = ndimage.distance_transform_edt(instances != label)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return nearest, second


class BorderCrossEntropy(nn.Module):
    """Cross-entropy weighted by a map and averaged by the sum of its weights (Ronneberger et al. 2015, eq. 1).

    Args:
        num_classes: 1 for a sigmoid output, more for a softmax.
        ignore_index: target value of pixels that do not count.
        w0, sigma: of the map that is computed when none is given; objects are then the connected components
            (faces touching) of everything that is not class 0.
    """

    takes_weight_map = True

    def __init__(
        self, num_classes: int, *, ignore_index: int | None = None, w0: float = 10.0, sigma: float = 5.0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.w0 = w0
        self.sigma = sigma

    def forward(self, logits: Tensor, target: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Loss of logits `(N, C, *spatial)` against class indices `(N, *spatial)`, weights of the target's shape."""
        if weight_map is None:
            weight_map = self.weight_map(target)
        if weight_map.shape != target.shape:
            raise InputError(
                f"weight_map has shape {tuple(weight_map.shape)}, the target {tuple(target.shape)}: expected the same"
            )
        valid = valid_mask(target, self.ignore_index)
        if self.num_classes == 1:
            labels = torch.where(valid, target, 0).to(logits.dtype)
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")
        else:
            loss = F.cross_entropy(logits, class_indices(target, valid), reduction="none")
        return masked_mean(loss, weight_map.to(loss.dtype) * valid)

    def weight_map(self, target: Tensor) -> Tensor:
        """The map of each target of the batch `(N, *spatial)`, from its connected components."""
        maps = []
        for labels in target.detach().cpu().long().numpy():
            valid = np.ones(labels.shape, dtype=bool) if self.ignore_index is None else labels != self.ignore_index
            instances, _ = ndimage.label(valid & (labels != 0))
            instances[~valid] = -1
            maps.append(border_weight_map(instances, w0=self.w0, sigma=self.sigma, ignore_index=-1))
        return torch.from_numpy(np.stack(maps)).to(target.device)
