"""The conformance suite over networks as their own packages give them: writes docs/conformance_peers.md.

Run from the root: `python -m benchmarks.conformance_peers [NAME ...] [--profile core] [--jobs 2]`. Names are
patterns such as `smp.*`. A package that is not installed is named as missing on the page.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from unetzoo.conformance import Report, check_model
from unetzoo.conformance.definition.check import PROFILES
from unetzoo.files import write_text

PAGE = Path(__file__).parent.parent / "docs" / "conformance_peers.md"
PACKAGES = ("segmentation-models-pytorch", "monai", "torchvision", "dynamic-network-architectures")
SMP = ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")
# Its number of input channels must divide 16.
ONE_CHANNEL = {"monai.VNet"}


@dataclass(frozen=True)
class Smp:
    """An architecture of segmentation_models_pytorch on a light encoder, its keywords passed on."""

    architecture: str
    encoder: str = "tu-test_resnet"
    options: tuple[tuple[str, object], ...] = ()

    def __call__(self, *, in_channels: int, num_classes: int, **more: object) -> nn.Module:
        import segmentation_models_pytorch as smp

        build: Callable[..., nn.Module] = getattr(smp, self.architecture)
        keywords = {"encoder_weights": None, "in_channels": in_channels, "classes": num_classes}
        return build(self.encoder, **keywords, **dict(self.options), **more)


@dataclass(frozen=True)
class Monai:
    """A network of MONAI in a small size; `names` are its keywords for input and output channels."""

    network: str
    options: tuple[tuple[str, object], ...]
    names: tuple[str, str] = ("in_channels", "out_channels")

    def __call__(self, *, in_channels: int, num_classes: int, **more: object) -> nn.Module:
        from monai.networks import nets

        build: Callable[..., nn.Module] = getattr(nets, self.network)
        channels = dict(zip(self.names, (in_channels, num_classes), strict=True))
        return build(**channels, **dict(self.options), **more)


class FirstOutput(nn.Module):
    """The logits out of torchvision's dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)["out"]


@dataclass(frozen=True)
class Torchvision:
    """A segmentation network of torchvision; it takes three channels only."""

    network: str

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        from torchvision.models import segmentation

        if in_channels != 3:
            raise ValueError(f"torchvision networks take 3 channels, got in_channels={in_channels}")
        build: Callable[..., nn.Module] = getattr(segmentation, self.network)
        return FirstOutput(build(weights=None, weights_backbone=None, num_classes=num_classes, **options))


@dataclass(frozen=True)
class NnUNet:
    """nnU-Net's plain network, from dynamic_network_architectures."""

    def __call__(self, *, in_channels: int, num_classes: int, **options: object) -> nn.Module:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        return PlainConvUNet(
            in_channels,
            3,
            (8, 16, 32),
            nn.Conv2d,
            3,
            (1, 2, 2),
            (1, 1, 1),
            num_classes,
            (1, 1),
            conv_bias=True,
            norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"affine": True},
            nonlin=nn.ReLU,
            **options,
        )


def monai(network: str, *names: str, **options: object) -> Monai:
    """A builder that can be sent to a process."""
    return Monai(network, tuple(options.items()), names or ("in_channels", "out_channels"))  # type: ignore[arg-type]


def peers() -> dict[str, Callable[..., nn.Module]]:
    """Builders by name."""
    flat: dict[str, object] = {"spatial_dims": 2}
    kernels = {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (8, 16, 32)}
    networks: dict[str, Callable[..., nn.Module]] = {f"smp.{name}": Smp(name) for name in SMP}
    networks |= {
        "smp.Unet-scse": Smp("Unet", options=(("decoder_attention_type", "scse"),)),
        "smp.Unet-instancenorm": Smp("Unet", options=(("decoder_use_norm", "instancenorm"),)),
        "smp.PSPNet-resnet18": Smp("PSPNet", "resnet18"),
        "smp.Segformer": Smp("Segformer", "mit_b0"),
        "smp.DPT": Smp("DPT", "tu-test_vit"),
        "monai.UNet": monai("UNet", channels=(8, 16, 32), strides=(2, 2), **flat),
        "monai.UNet-3d": monai("UNet", channels=(8, 16, 32), strides=(2, 2), num_res_units=2, spatial_dims=3),
        "monai.BasicUNet": monai("BasicUNet", features=(8, 8, 16, 16, 32, 8), **flat),
        "monai.BasicUNetPlusPlus": monai("BasicUNetPlusPlus", features=(8, 8, 16, 16, 32, 8), **flat),
        "monai.AttentionUnet": monai("AttentionUnet", channels=(8, 16, 32), strides=(2, 2), **flat),
        "monai.DynUNet": monai("DynUNet", **kernels, **flat),
        "monai.DynUNet-deep": monai("DynUNet", deep_supervision=True, deep_supr_num=1, **kernels, **flat),
        "monai.SegResNet": monai("SegResNet", **flat),
        "monai.UNETR": monai(
            "UNETR", img_size=(64, 64), feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4, **flat
        ),
        "monai.SwinUNETR": monai("SwinUNETR", feature_size=12, **flat),
        "monai.VNet": monai("VNet", **flat),
        "torchvision.lraspp_mobilenet_v3_large": Torchvision("lraspp_mobilenet_v3_large"),
        "torchvision.deeplabv3_mobilenet_v3_large": Torchvision("deeplabv3_mobilenet_v3_large"),
        "nnunet.PlainConvUNet": NnUNet(),
    }
    return networks


def installed(name: str) -> bool:
    """Whether the package of this peer is here."""
    module = {"smp": "segmentation_models_pytorch", "nnunet": "dynamic_network_architectures"}
    return importlib.util.find_spec(module.get(name.partition(".")[0], name.partition(".")[0])) is not None


def page(reports: Sequence[Report], missing: Sequence[str], profile: str) -> str:
    """The page, in Markdown: a row a network, then what each fails and what was probed."""
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES if _has(p))
    lines = [
        "# Peers under the same suite",
        "",
        f"Generated by `python -m benchmarks.conformance_peers --profile {profile}` on the CPU with torch "
        f"{torch.__version__}; {versions}. Networks are as their packages give them, in small sizes; nothing is "
        "declared, "
        "everything is probed. torchvision's dictionaries are unwrapped.",
        "",
        "| network | passed | failed | not applicable | sizes | smallest | seconds |",
        "|---|---:|---:|---:|---|---|---:|",
    ]
    for r in reports:
        sizes = (
            "one"
            if r.capabilities.fixed_size
            else "any"
            if max(r.capabilities.divisor) == 1
            else f"/{max(r.capabilities.divisor)}"
        )
        counts = r.counts
        lines.append(
            f"| {r.model} | {counts.get('passed', 0)} | {len(r.failures)} | {counts.get('not applicable', 0)} | "
            f"{sizes} | "
            f"{max(r.capabilities.min_size)} | {r.seconds:.0f} |"
        )
    if missing:
        lines += ["", f"Not run, for their package is not installed: {', '.join(missing)}."]
    for r in reports:
        lines += ["", f"## {r.model}", "", f"{r.headline}.", ""]
        lines += [f"- `{f.check}` ({f.level}): {_one_line(f.message)}" for f in r.failures + r.advice]
    return "\n".join(lines) + "\n"


def _has(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _one_line(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= 400 else f"{flat[:397]}..."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    chosen = {n: b for n, b in peers().items() if any(fnmatchcase(n, p) for p in arguments.patterns)}
    missing = [name for name in chosen if not installed(name)]

    def examine(name: str) -> Report:
        channels = 1 if name in ONE_CHANNEL else 3
        report = check_model(
            chosen[name], in_channels=channels, profile=arguments.profile, isolate=True, memory_limit=16.0
        )
        report.model = name
        return report

    reports: list[Report] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for report in pool.map(examine, [name for name in chosen if name not in missing]):
            reports.append(report)
            print(report.headline, flush=True)
            write_text(PAGE, page(reports, missing, arguments.profile))


if __name__ == "__main__":
    main()
