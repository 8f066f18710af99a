"""`unetzoo predict`: apply a trained network to images and volumes, and write what it sees in them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track


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
    """The named normalizations of `DataConfig`."""

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
        typer.Option(help="How images beyond the tile are cut; mirror for unpadded networks and else exact."),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=1, help="Pixels along an axis that one run sees; 1024, or 160 in 3-D.")
    ] = None,
    tta: Annotated[Symmetries, typer.Option(help="Average over mirrored, or also turned, images.")] = Symmetries.none,
    normalize: Annotated[
        Normalization | None, typer.Option(help="What images are put through; by default as in training.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU where there is one.")] = None,
) -> None:
    """Write NAME_mask, holding the number of each pixel's class, and of pictures NAME_overlay.png."""
    import torch

    from unetzoo.cli.predicting import Predictor, find_images
    from unetzoo.inference.tta import TestTimeAugmentation
    from unetzoo.training.data import DataError
    from unetzoo.training.trained import Trained, load_trained

    found = find_images(images)
    trained = load_trained(model)
    if normalize is not None:
        trained = Trained(trained.model, trained.data.model_copy(update={"normalize": normalize.value}))
    network = trained.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    predictor = Predictor(
        trained,
        mode=mode.value if mode else "mirror" if any(network.capabilities.margin) else "exact",
        tile=tile,
        tta=None if tta is Symmetries.none else TestTimeAugmentation(network, symmetries=tta.value),
        probabilities=probabilities,
    )
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    unread = []
    for path in track(found, "predicting", console=console, transient=True):
        try:
            predictor.write(path, out)
        except DataError as error:
            unread.append(str(error))
    console.print(f"{len(found) - len(unread)} of {len(found)} images predicted, written to {out}", highlight=False)
    if unread:
        raise DataError("\n".join(unread))
