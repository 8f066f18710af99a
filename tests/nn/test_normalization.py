from __future__ import annotations

import pytest

from unetzoo.errors import ConfigError
from unetzoo.nn.normalization import make_norm


@pytest.mark.parametrize(
    ("channels", "options", "groups"),
    [
        (64, {}, 32),
        (48, {}, 16),
        (6, {"num_groups": 8}, 2),
        (6, {"num_groups": 8, "below": 1}, 1),
        (12, {"num_groups": 8, "below": 1}, 4),
    ],
)
def test_the_groups_divide_the_channels(channels: int, options: dict, groups: int) -> None:
    assert make_norm({"name": "group", **options}, channels, ndim=2).num_groups == groups


@pytest.mark.parametrize("option", ["num_groups", "below"])
def test_a_number_of_groups_is_a_whole_number_from_1(option: str) -> None:
    with pytest.raises(ConfigError, match="expected a number of at least 1, got 0"):
        make_norm({"name": "group", option: 0}, 8, ndim=2)
