"""Makes the golden files of this folder from the full reference runs: the record of each, its arrays sampled.

    python tests/golden/make.py --source DIR

`DIR` holds, for each reference run, `<id>.json` and `<id>.npz` as `README.md` describes them.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
import yaml

HERE = Path(__file__).parent
POINTS = 2048
RESIZED = ("resize", "train_outputs")  # modes whose arrays are compared at the input's size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of the full reference runs")
    source: Path = parser.parse_args().source
    arrays: dict[str, dict[str, str | None]] = {}
    for row in yaml.safe_load((HERE / "catalog.yaml").read_text(encoding="utf-8")):
        arrays.setdefault(row["golden"], {}).update(dict.fromkeys(row["compare"], row.get("mode")))
    for golden, modes in arrays.items():
        make(source, golden, modes)


def make(source: Path, golden: str, modes: dict[str, str | None]) -> None:
    """Write `<golden>.npz`: its record, and of each array in `modes` the sampled points."""
    meta = json.loads((source / f"{golden}.json").read_text(encoding="utf-8"))
    kept: dict[str, np.ndarray] = {}
    statistics = {}
    with np.load(source / f"{golden}.npz") as full:
        for name, mode in modes.items():
            array = full[name]
            if mode in RESIZED:
                array = _resize(array, meta["input_shape"][2:])
            size = min(POINTS, array.size)
            index = np.sort(np.random.default_rng(0).choice(array.size, size, replace=False)).astype(np.int32)
            kept |= {f"{name}.index": index, f"{name}.values": array.ravel()[index]}
            statistics[name] = {
                "shape": array.shape,
                "mean": float(array.mean(dtype=np.float64)),
                "std": float(array.std(dtype=np.float64)),
                "abs_max": float(np.abs(array).max()),
                "atol": meta["suggested_atol"][name],
            }
    transform = re.search(r"multiplied by ([\d.]+)", meta.get("state_dict_transform") or "")
    left_out = {*meta["aliases"], *meta["constant_buffers"]}
    record = {
        "origin": {key: meta[key] for key in ("repo", "commit", "license", "class", "ctor", "forward")},
        "notes": meta["notes"],
        "params": meta["params"],
        "input_shape": meta["input_shape"],
        "input_scale": meta["input_scale"],
        "norm_gain": float(transform[1]) if transform else 1.0,
        "state_dict": {name: shape for name, shape in meta["state_dict"].items() if name not in left_out},
        "aliases": meta["aliases"],
        "arrays": statistics,
    }
    text = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
    np.savez_compressed(HERE / f"{golden}.npz", record=text, **kept)


def _resize(array: np.ndarray, size: list[int]) -> np.ndarray:
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = torch.nn.functional.interpolate(torch.from_numpy(array), size=tuple(size), mode=mode, align_corners=False)
    return resized.numpy()


if __name__ == "__main__":
    main()
