"""Redraws figure 3 of the U2-Net paper: what a block costs against the width inside it.

    python benchmarks/block_cost.py --out docs

writes `block_cost.svg` and `block_cost.md`. Qin et al., "U2-Net", Pattern Recognition 2020, figure 3: the operations
of plain (PLN), residual (RES), dense (DSE), inception-like (INC) and residual U-blocks (RSU) on an input of
320x320x3 with 64 output channels and M inside. Counted are multiplications and additions, one each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unetzoo.blocks.dense import Dense
from unetzoo.blocks.double_conv import DoubleConv
from unetzoo.blocks.inception import DilatedInception
from unetzoo.blocks.residual import Residual
from unetzoo.blocks.rsu import RSU
from unetzoo.nn.convolution import ConvNormAct

matplotlib.use("svg")
from matplotlib import pyplot as plt

IN_CHANNELS, OUT_CHANNELS, SIZE = 3, 64, 320
WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)


def around(middle: nn.Module, wide_in: int, wide_out: int) -> nn.Module:
    """The block at its inner width, between the convolutions that bring the image to it and it to what comes out."""
    first, last = ConvNormAct(IN_CHANNELS, wide_in, ndim=2), ConvNormAct(wide_out, OUT_CHANNELS, ndim=2)
    return nn.Sequential(first, middle, last)


BLOCKS: dict[str, Callable[[int], nn.Module]] = {
    "plain (PLN)": lambda m: around(DoubleConv(m, m, ndim=2), m, m),
    "residual (RES)": lambda m: around(Residual(m, m, ndim=2), m, m),
    "dense (DSE)": lambda m: around(Dense(m, m, ndim=2, depth=3, growth=m), m, m),
    "inception (INC)": lambda m: around(DilatedInception(m, 4 * m, ndim=2), m, 4 * m),
    "residual U-block (RSU-7)": lambda m: RSU(IN_CHANNELS, OUT_CHANNELS, ndim=2, height=7, mid=m),
}


def operations(block: nn.Module) -> int:
    """Floating-point operations of one forward pass, counted without computing anything."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block.to("meta").eval()(torch.empty(1, IN_CHANNELS, SIZE, SIZE, device="meta"))
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the figure and the table")
    folder = parser.parse_args().out
    costs = {name: [operations(make(width)) / 1e9 for width in WIDTHS] for name, make in BLOCKS.items()}
    figure, axes = plt.subplots(figsize=(6, 4))
    for name, cost in costs.items():
        axes.plot(WIDTHS, cost, marker="o", label=name)
    axes.set_xlabel("channels inside the block, M")
    axes.set_ylabel("GFLOPs at 320x320x3, 64 channels out")
    axes.legend()
    axes.grid(alpha=0.3)
    plt.rcParams["svg.hashsalt"] = "unetzoo"
    figure.savefig(folder / "block_cost.svg", metadata={"Date": None}, bbox_inches="tight")
    rows = ["| M | " + " | ".join(costs) + " |", "|---:" * (len(costs) + 1) + "|"]
    rows += [
        f"| {width} | " + " | ".join(f"{cost[index]:.2f}" for cost in costs.values()) + " |"
        for index, width in enumerate(WIDTHS)
    ]
    (folder / "block_cost.md").write_text(TEXT.format(table="\n".join(rows)))


TEXT = """# What a block costs

The U2-Net paper (Qin et al., 2020, figure 3) compares its residual U-block with the blocks that other networks are made
of: how many operations each takes when the number of channels inside it, M, grows. Most of a residual U-block works at
a fraction of the resolution: with 64 channels inside it takes about half the operations of the dense and the
inception-like block and a third more than the plain one, although it sees much farther. This is the figure drawn from
the blocks of this package, with an input of 320x320x3 and 64 output channels.

![GFLOPs against the channels inside](block_cost.svg)

GFLOPs (a multiplication and an addition count as two):

{table}

Made by `python benchmarks/block_cost.py --out docs`.
"""

if __name__ == "__main__":
    main()
