"""Runs 60 timm backbones of different families forward and backward under a decoder, on real tensors at an odd size.

For each: a U-Net on the backbone, one training step at 75 x 101; logits must be finite, of the image's size, and every
parameter must get a finite gradient. Run with: python benchmarks/timm_spread.py [--write docs/timm_spread.md]
"""

from __future__ import annotations

import argparse
import time
import warnings
from datetime import date
from pathlib import Path

import timm
import torch

import unetzoo
from unetzoo.adapters.timm.families import family, family_name
from unetzoo.files import write_text

COUNT = 60
SIZE = (75, 101)
COMMAND = "python benchmarks/timm_spread.py --write"
HEADER = """# A spread of timm backbones, trained a step

{works} of {count} backbones work under the U-Net decoder: the smallest of each family of timm {timm}, of the {count}
families whose smallest is smallest. Each takes one training step on a batch of two images of {size} pixels; the logits
are of the images' size, and every parameter of encoder and decoder gets a finite gradient."""


def smallest_of_each_family() -> list[str]:
    """The smallest backbone of each family that is not refused, by its parameters; the 60 smallest of them."""
    sizes: dict[str, tuple[int, str]] = {}
    for name in timm.list_models():
        kind = family_name(name)
        if family(name).refused or name.startswith("test_"):
            continue
        with torch.device("meta"):
            params = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        sizes[kind] = min(sizes.get(kind, (params, name)), (params, name))
    return [name for _, name in sorted(sizes.values())[:COUNT]]


def train_step(model: unetzoo.DenseModel) -> str:
    """One training step; what is wrong, or the empty string."""
    logits = model(torch.randn(2, 3, *SIZE))
    if logits.shape != (2, 2, *SIZE) or not logits.isfinite().all():
        return f"logits of shape {tuple(logits.shape)}, finite: {bool(logits.isfinite().all())}"
    logits.square().mean().backward()
    wrong = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    return f"no finite gradient: {', '.join(wrong[:3])}" if wrong else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    parser.add_argument("names", nargs="*", help="backbones; the smallest of 60 families unless told")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = ["| backbone | family | parameters (millions) | result |", "| --- | --- | --- | --- |"]
    works = 0
    names = arguments.names or smallest_of_each_family()
    for name in names:
        start = time.perf_counter()
        torch.manual_seed(0)
        model = unetzoo.create("unet", num_classes=2, encoder=f"timm/{name}").train()
        params = sum(parameter.numel() for parameter in model.encoder.parameters())
        try:
            wrong = train_step(model)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}".splitlines()[0]
        works += not wrong
        print(f"{name}: {wrong or 'works'} ({time.perf_counter() - start:.1f} s)", flush=True)
        lines.append(f"| {name} | {family_name(name)} | {params / 1e6:.2f} | {wrong or 'works'} |")
    print(f"{works} of {len(names)} work")
    if arguments.write:
        told = HEADER.format(works=works, count=len(names), size=" x ".join(map(str, SIZE)), timm=timm.__version__)
        note = f"torch {torch.__version__}, {date.today():%Y-%m-%d}. Written by `{COMMAND} {arguments.write}`."
        write_text(arguments.write, "\n".join([told, "", note, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
