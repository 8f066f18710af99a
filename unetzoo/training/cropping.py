"""Bringing a target to the part of the image that a network's output covers."""

from __future__ import annotations

from torch import Tensor


def center_crop(target: Tensor, logits: Tensor) -> Tensor:
    """The center of a target (N, *spatial) that logits (N, C, *spatial) cover: unpadded networks leave out a margin."""
    window = [slice(None)]
    for have, covered in zip(target.shape[1:], logits.shape[2:], strict=True):
        start = (have - covered) // 2
        window.append(slice(start, start + covered))
    return target[tuple(window)]
