"""The dilated center of D-LinkNet (Zhou, Zhang and Wu, "D-LinkNet", CVPR Workshops 2018, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

from unetzoo.blocks.dilated import DilatedCascade
from unetzoo.nn.typing import Size


class Dilated(DilatedCascade):
    """Dilated convolutions in cascade whose every stage is added to the input: (N, channels, *S) to the same."""

    def __init__(
        self, channels: int, *, ndim: int, dilations: Sequence[int] = (1, 2, 4, 8), kernel_size: Size = 3
    ) -> None:
        super().__init__(channels, channels, ndim=ndim, dilations=dilations, kernel_size=kernel_size, add_input=True)
