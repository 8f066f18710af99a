"""Tiled prediction of a large image: time, memory and deviation from the whole image, beside MONAI's sliding window.

    python benchmarks/tiled_inference.py --size 2048 --methods whole exact blend monai
    python benchmarks/tiled_inference.py --size 8192 --methods "exact:16,32" blend monai

Every method runs in a process of its own on the same random weights and image. Memory is the highest resident set
during the call over that before it, with the model built and warm: it holds the image, the prediction and all between.
Our methods read windows of a `.npy` of bytes; MONAI takes a float tensor. On a machine that others use too, CPU seconds
compare better than seconds. The
deviation is the largest difference to the whole image's logits, over their largest value, at `--reference-size`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch

from unetzoo.inference import predict_tiled


def build_model() -> torch.nn.Module:
    """An smp U-Net on ResNet-34 with random weights and batch statistics of one noise batch."""
    torch.manual_seed(0)
    model = smp.Unet("resnet34", encoder_weights=None, classes=1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(torch.randn(2, 3, 256, 256))
    return model.eval()


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels / 127.5 - 1


def method(name: str, tile: int) -> Callable[[torch.nn.Module, Path], np.ndarray]:
    """What predicts the image of a file: `whole`, `exact`, `exact:SPLIT[,SPLIT]`, `mirror`, `blend` or `monai`."""
    kind, _, splits = name.partition(":")

    def whole(model: torch.nn.Module, path: Path) -> np.ndarray:
        with torch.inference_mode():
            return model(scaled(torch.from_numpy(np.load(path)).float())[None])[0].numpy()

    def monai(model: torch.nn.Module, path: Path) -> np.ndarray:
        from monai.inferers import sliding_window_inference

        image = scaled(torch.from_numpy(np.load(path)).float())[None]
        with torch.inference_mode():
            return sliding_window_inference(image, (512, 512), 1, model, overlap=0.25)[0].numpy()

    def ours(model: torch.nn.Module, path: Path) -> np.ndarray:
        options: dict[str, object] = {"split": tuple(map(int, splits.split(",")))} if splits else {}
        if kind == "blend":
            options = {"overlap": 0.25}
        edge = 512 if kind == "blend" else tile
        return np.asarray(predict_tiled(model, path, mode=kind, tile=edge, prepare=scaled, **options))

    return {"whole": whole, "monai": monai}.get(kind, ours)


def measure(name: str, path: Path, tile: int, result: Path) -> None:
    """Runs one method in this process; prints seconds and GiB."""
    model = build_model()
    with torch.inference_mode():
        model(torch.zeros(1, 3, 512, 512))
    predict = method(name, tile)
    if name == "monai":
        importlib.import_module("monai.inferers")  # its import is no part of the run
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the highest resident set back to the present one
    start = time.perf_counter(), time.process_time()
    prediction = predict(model, path)
    seconds, busy = time.perf_counter() - start[0], time.process_time() - start[1]
    print(json.dumps({"seconds": seconds, "busy": busy, "gib": (status("VmHWM") - before) / 2**20}))
    np.save(result, prediction)


def status(field: str) -> int:
    """A memory figure of this process in KiB, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def run(name: str, size: int, tile: int, folder: Path) -> tuple[dict[str, float], Path]:
    """Runs one method on a random image of a size in a new process."""
    path = folder / f"image{size}.npy"
    if not path.exists():
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(3, size, size))
        random = np.random.default_rng(0)
        for top in range(0, size, 256):
            pixels[:, top : top + 256] = random.integers(0, 256, pixels[:, top : top + 256].shape, dtype=np.uint8)
        pixels.flush()
    result = folder / "prediction.npy"
    command = [sys.executable, __file__, "--child", name, "--tile", str(tile), str(path), str(result)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1]), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--reference-size", type=int, default=1024)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--methods", nargs="+", default=["whole", "exact", "exact:16,32", "blend", "monai"])
    parser.add_argument("--child")
    parser.add_argument("paths", nargs="*", type=Path)
    options = parser.parse_args()
    if options.child:
        measure(options.child, options.paths[0], options.tile, options.paths[1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = np.load(run("whole", options.reference_size, options.tile, folder)[1])
        print(f"| method | seconds | CPU seconds | GiB above the model | deviation at {options.reference_size} |")
        print("|---|---:|---:|---:|---:|")
        for one in options.methods:
            small_tile = min(options.tile, options.reference_size // 2)
            small = np.load(run(one, options.reference_size, small_tile, folder)[1])
            deviation = np.abs(small - whole).max() / np.abs(whole).max()
            figures, _ = run(one, options.size, options.tile, folder)
            numbers = f"{figures['seconds']:.1f} | {figures['busy']:.1f} | {figures['gib']:.2f} | {deviation:.1e}"
            print(f"| {one} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
