"""Builds every architecture of timm as an encoder, without memory for weights, and writes build/pages/timm_table.md.

On torch's meta device tensors have shapes and no values. Each encoder is built, run in training mode at an odd and a
square size, and run backward; what it gives must have the channels and strides that it declares, and every parameter
must be reached. Run with: python -m benchmarks.timm_coverage [pattern]
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import timm
import torch

from unetzoo.adapters.timm import TimmEncoder
from unetzoo.errors import ConfigError
from unetzoo.files import write_text

SIZES = ((97, 135), (64, 64))
PAGE = Path(__file__).parents[1] / "build" / "pages" / "timm_table.md"


@dataclass(frozen=True)
class Row:
    """What came of one architecture."""

    name: str
    params: int = 0
    strides: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    reason: str = ""

    def markdown(self) -> str:
        if self.reason:
            return f"| {self.name} | | | | | {self.reason} |"
        strides, channels = ("-".join(map(str, numbers)) for numbers in (self.strides, self.channels))
        return f"| {self.name} | {len(self.strides)} | {strides} | {channels} | {self.params / 1e6:.2f} | |"


def examine(name: str, device: str = "meta") -> Row:
    """Build and run one encoder; what goes wrong is the row's reason."""
    try:
        with torch.device(device):
            encoder = TimmEncoder(3, ndim=2, backbone=name).train()
            for size in SIZES:
                features = encoder(torch.rand(2, 3, *size))
                shapes = [tuple(feature.shape) for feature in features]
                promised = [
                    (2, channels, *(math.ceil(side / stride) for side in size))
                    for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
                ]
                if shapes != promised:
                    return Row(name, reason=f"features {shapes}, promised {promised}")
            sum(feature.sum() for feature in features).backward()
    except ConfigError as error:
        return Row(name, reason=str(error).partition(": ")[2] or str(error))
    except Exception as error:
        if device == "meta" and "meta tensors" in str(error):
            return examine(name, device="cpu")
        return Row(name, reason=f"{type(error).__name__}: {error}".splitlines()[0][:160])
    unused = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    if unused:
        return Row(name, reason=f"{len(unused)} parameters get no gradient, such as {unused[0]}")
    params = sum(parameter.numel() for parameter in encoder.parameters())
    return Row(name, params, tuple(encoder.strides), tuple(encoder.channels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in timm.list_models(arguments.pattern):
        rows.append(examine(name))
        if rows[-1].reason:
            print(f"{name}: {rows[-1].reason}", flush=True)
    works = sum(not row.reason for row in rows)
    summary = f"{works} of the {len(rows)} architectures of timm {timm.__version__} work."
    print(summary)
    titles = ["name", "levels", "strides", "channels", "parameters (millions)", "why not"]
    head = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    table = "\n".join([*head, *(row.markdown() for row in rows)])
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    write_text(PAGE, f"# timm backbones\n\n{summary}\n\n{table}\n")


if __name__ == "__main__":
    main()
