"""Runs 60 timm backbones of different families forward and backward under a decoder, on real tensors at an odd size.

For each: a U-Net on the backbone, one training step at 75 x 101; logits must be finite, of the image's size, and every
parameter must get a finite gradient. Run with: python benchmarks/timm_spread.py [--write docs/timm_spread.md]
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import timm
import torch

import unetzoo
from unetzoo.adapters.timm.families import family, family_name
from unetzoo.files import write_text

COUNT = 60
SIZE = (75, 101)


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


def examine(name: str) -> str:
    """One training step; what is wrong, or the empty string."""
    torch.manual_seed(0)
    model = unetzoo.create("unet", num_classes=2, encoder=f"timm/{name}").train()
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
    lines = ["| backbone | family | result |", "| --- | --- | --- |"]
    works = 0
    names = arguments.names or smallest_of_each_family()
    for name in names:
        start = time.perf_counter()
        try:
            wrong = examine(name)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}".splitlines()[0]
        works += not wrong
        print(f"{name}: {wrong or 'works'} ({time.perf_counter() - start:.1f} s)", flush=True)
        lines.append(f"| {name} | {family_name(name)} | {wrong or 'works'} |")
    print(f"{works} of {len(names)} work")
    if arguments.write:
        write_text(arguments.write, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
