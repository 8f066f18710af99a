"""The residual U-block (Qin et al., "U2-Net: Going deeper with nested U-structure", 2020, section 3.1, figure 2)."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from unetzoo.errors import ConfigError
from unetzoo.nn import dims
from unetzoo.nn.convolution import ConvNormAct, ConvOptions
from unetzoo.nn.resampling import interpolate


class RSU(nn.Module):
    """A small U-Net whose result is added to its input: (N, in_channels, *S) to (N, out_channels, *S).

    `height` counts the convolutions on the way down, the L of RSU-L; all but the first two and the last work at half
    the resolution of the one before. `dilated` gives RSU-LF, which keeps the resolution and doubles the dilation
    instead. `mid` is the width inside (default: half the output's). The convolutions' options are those of
    `ConvNormAct`. Raises `ConfigError` for a height below 3, or for unpadded convolutions, which cannot be added.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        height: int = 5,
        mid: int | None = None,
        dilated: bool = False,
        **conv: Unpack[ConvOptions],
    ) -> None:
        super().__init__()
        if height < 3:
            raise ConfigError(f"height is {height}; expected a whole number from 3")
        if conv.get("padding", "same") != "same":
            raise ConfigError("a residual U-block adds its input to its output: expected padding 'same'")
        if "dilation" in conv:
            raise ConfigError("a residual U-block sets its dilations itself: leave 'dilation' out, or use 'dilated'")
        mid = mid or max(out_channels // 2, 1)
        down = [2**level for level in range(height)] if dilated else [1] * (height - 1) + [2]
        up = down[-2::-1] if dilated else [1] * (height - 1)
        self.entry = ConvNormAct(in_channels, out_channels, ndim=ndim, **conv)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, dilation in enumerate(down):
            own: ConvOptions = {**conv, "dilation": dilation}
            self.down.append(ConvNormAct(mid if level else out_channels, mid, ndim=ndim, **own))
        for level, dilation in enumerate(up):
            own = {**conv, "dilation": dilation}
            self.up.append(ConvNormAct(2 * mid, mid if level < height - 2 else out_channels, ndim=ndim, **own))
        self.pool = nn.Identity() if dilated else dims.max_pool(ndim)(2, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        entry = self.entry(x)
        *above, bottom = self.down
        x, skips = entry, []
        for level, conv in enumerate(above):
            x = conv(self.pool(x) if level > 0 else x)
            skips.append(x)
        x = bottom(x)
        for conv in self.up:
            skip = skips.pop()
            x = conv(torch.cat([interpolate(x, skip.shape[2:]), skip], dim=1))
        return x + entry
