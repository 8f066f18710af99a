"""`unetzoo predict`: apply a trained network to images and volumes, and write what it sees in them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from unetzoo.cli.interrupting import interruptible
from unetzoo.errors import ConfigError, InputError


class Cut(str, Enum):
    """The modes of `predict_tiled`."""

    exact = "exact"
    mirror = "mirror"
    blend = "blend"


class Symmetries(str, Enum):
    """The symmetries of `TestTimeAugmentation`."""

    none = "none"
    flips = "flips"
    all = "all"


class Normalization(str, Enum):
    """The named normalizations of a recipe's data."""

    image = "image"
    imagenet = "imagenet"
    none = "none"


def predict(
    model: Annotated[str, typer.Argument(help="Folder of a run, of a saved model, or id of a hub repository.")],
    images: Annotated[list[Path], typer.Argument(help="Images, volumes, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of every class too.")
    ] = False,
    mode: Annotated[
        Cut | None,
        typer.Option(help="How images larger than a tile are cut; default: exact, or mirror for unpadded networks."),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=1, help="Tile size along an axis in pixels; default: 1024, or 160 in 3-D.")
    ] = None,
    mirror_ends: Annotated[
        bool, typer.Option("--mirror-ends", help="For exact: extend images to a multiple of the model's stride.")
    ] = False,
    tta: Annotated[Symmetries, typer.Option(help="Average over mirrored, or also turned, images.")] = Symmetries.none,
    normalize: Annotated[
        Normalization | None, typer.Option(help="Replaces the preprocessing that is saved with the model.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU where there is one.")] = None,
) -> None:
    """Write NAME_mask, holding the number of each pixel's class, and of pictures NAME_overlay.png."""
    from unetzoo.cli.predicting import find_images, write
    from unetzoo.inference.predictor import Predictor
    from unetzoo.preprocessing import Preprocessing, usual_order
    from unetzoo.pretrained import from_pretrained

    found = find_images(images)
    network = from_pretrained(model)
    if normalize is not None:
        order = usual_order(network.in_channels) if network.ndim == 2 else None
        network.preprocessing = Preprocessing.named(normalize.value, ndim=network.ndim, channels=order)
    if network.preprocessing is None:
        raise ConfigError(f"{model} does not say how its images are prepared; pass --normalize")
    predictor = Predictor(
        network,
        mode=mode.value if mode else None,
        tile=tile,
        mirror_ends=mirror_ends,
        tta=tta.value,
        device=device or default_device(),
    )
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    unread = []
    done = 0

    def advice() -> str:
        return f"{done} of {len(found)} images are predicted, in {out}; give the others, from {found[done]}, to go on"

    with interruptible(advice):
        for path in track(found, "predicting", console=console, transient=True):
            try:
                write(predictor, path, out, probabilities=probabilities)
            except InputError as error:
                unread.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            done += 1
    console.print(f"{len(found) - len(unread)} of {len(found)} images predicted, written to {out}", highlight=False)
    if unread:
        raise InputError("\n".join(unread))


def default_device() -> str:
    """A GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
