from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unetzoo.errors import InputError
from unetzoo.training.metrics import VolumeScores
from unetzoo.training.metrics.surfaces import hausdorff_distance


def scores_of(predicted: torch.Tensor, actual: torch.Tensor, num_classes: int = 3, **options) -> VolumeScores:
    scores = VolumeScores(num_classes, **{k: v for k, v in options.items() if k == "ignore_index"})
    spacing = options.get("spacing")
    scores.update(F.one_hot(predicted, num_classes).movedim(-1, 1).float(), actual, spacing)
    return scores


def cube(offset: int, label: int = 1) -> torch.Tensor:
    volume = torch.zeros(1, 10, 10, 12).long()
    volume[:, 2:6, 2:6, offset : offset + 4] = label
    return volume


def test_a_shifted_cube_scores_by_hand():
    scores = scores_of(cube(2), cube(4), spacing=(1.0, 1.0, 2.5))
    assert scores.dice() == pytest.approx({1: 0.5})  # half of either cube of 4 slices is shared
    # the far face, 16 of 56 surface voxels, is two slices of 2.5 away; the four voxels of each inner ring are nearer
    assert scores.hausdorff95() == pytest.approx({1: 5.0})


def test_a_single_stray_voxel_does_not_set_the_95_percent_distance():
    stray = cube(2).clone()
    stray[0, 9, 9, 11] = 1
    assert scores_of(stray, cube(2)).hausdorff95()[1] == 0


@pytest.mark.parametrize("seed", range(4))
def test_distance_equals_a_brute_force_computation(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 6, 7, 8)) > 0.8
    spacing = np.array([0.7, 1.0, 3.0])

    def surface_points(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        faces = [np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for shift in (1, -1)]
        return np.argwhere(mask & ~np.logical_and.reduce(faces)) * spacing

    between = np.linalg.norm(surface_points(first)[:, None] - surface_points(second)[None], axis=-1)
    expected = max(np.percentile(between.min(1), 95), np.percentile(between.min(0), 95))
    assert hausdorff_distance(first, second, spacing) == pytest.approx(expected)


def test_a_missed_class_gets_the_diagonal_and_an_absent_one_is_not_counted():
    scores = scores_of(cube(2, label=2), cube(2, label=1))
    assert scores.dice() == {1: 0.0}
    assert scores.hausdorff95() == pytest.approx({1: math.sqrt(10**2 + 10**2 + 12**2)})


def test_void_voxels_are_nowhere():
    actual = cube(2)
    actual[:, :, :, 6:] = 255
    predicted = cube(2) | cube(6)
    scores = scores_of(predicted, actual, ignore_index=255)
    assert scores.dice() == {1: 1.0}
    assert scores.hausdorff95() == {1: 0.0}


def test_mean_is_over_volumes_first_and_classes_second():
    both = torch.cat([cube(2), cube(2)])
    actual = torch.cat([cube(2), cube(4)])
    actual[1, 8:, 8:, 8:] = 2
    scores = scores_of(both, actual)
    assert scores.dice() == pytest.approx({1: 0.75, 2: 0.0})
    assert scores.mean_dice() == pytest.approx(0.375)
    assert scores.mean_hausdorff95() == pytest.approx(sum(scores.hausdorff95().values()) / 2)


def test_spacing_of_another_length_is_refused():
    with pytest.raises(InputError, match="expected 3 numbers above zero"):
        scores_of(cube(2), cube(2), spacing=(1.0, 1.0))
