"""Distances between the surfaces of two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def surface(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch, by a face, one outside it or the image's border; bool, the mask's shape."""
    return mask & ~ndimage.binary_erosion(mask)


def surface_distances(first: np.ndarray, second: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance of every surface pixel of `first` to the nearest one of `second`, which may not be empty.

    Args:
        first, second: bool masks of one shape.
        spacing: size of a pixel along each axis; the distances come in its unit.
    """
    return ndimage.distance_transform_edt(~surface(second), sampling=spacing)[surface(first)]


def hausdorff_distance(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float], percentile: float = 95.0
) -> float:
    """The larger of the two directed percentiles of the surface distances; neither mask may be empty."""
    directed = (surface_distances(first, second, spacing), surface_distances(second, first, spacing))
    return float(max(np.percentile(distances, percentile) for distances in directed))
