"""Networks that cannot be copied, or whose copies hang on the original."""

from __future__ import annotations

import copy
import json
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_deepcopy", because=r"graph alive raised .*Held by: model\.last")
class KeepsLastOutput(SmallUNet):
    """Keeps its last logits for later inspection."""

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.last = logits
        return logits


@planted("check_deepcopy", because="the original's output after|after a change of its weights")
class ClosureOverItself(SmallUNet):
    """Calls its head through a closure over the network."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.scale = lambda logits: logits * self.head.weight.sum()

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.scale(logits)


@planted("check_deepcopy", because=r"shares memory .*template")
class SharedTemplate(SmallUNet):
    """Copies everything but one buffer, by hand."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("template", torch.ones(num_classes, 1, 1))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.template

    def __deepcopy__(self, memo: dict[int, object]) -> SharedTemplate:
        twin = type(self)(self.encoder[0][0].in_channels, self.head.out_channels)  # type: ignore[arg-type, union-attr]
        twin.to(self.head.weight.dtype).load_state_dict(copy.deepcopy(self.state_dict(), memo))
        twin.train(self.training)
        twin.template = self.template
        return twin


@planted("check_pickle", because=r"Held by: model\.activation")
class LambdaAttribute(SmallUNet):
    """Keeps a lambda."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.activation = lambda logits: F.leaky_relu(logits, 0.5)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.activation(logits)


@planted("check_pickle", because=r"LocalScale|local")
def LocalClass(in_channels: int, num_classes: int) -> nn.Module:
    """Contains a module whose class is local to a function."""

    class LocalScale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    model = SmallUNet(in_channels, num_classes)
    model.encoder[0].append(LocalScale())
    return model


@planted("check_pickle", because=r"Held by: model\.lock")
class HoldsLock(SmallUNet):
    """Keeps a lock to guard its cache."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.lock = threading.Lock()

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        with self.lock:
            return logits


@planted("check_pickle", because="output of a pickle round trip of a fresh network")
class ForgetsOnUnpickling(SmallUNet):
    """Draws its template anew when it is unpickled."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        nn.init.normal_(self.head.weight)


class Saved(SmallUNet):
    """Saves and restores itself."""

    keys: tuple[str, ...] = ("in_channels", "num_classes", "gain")

    def __init__(self, in_channels: int, num_classes: int, gain: float = 1.0) -> None:
        super().__init__(in_channels, num_classes)
        self.settings = {"in_channels": in_channels, "num_classes": num_classes, "gain": gain}

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.settings["gain"]

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({k: self.settings[k] for k in self.keys}))
        save_file(self.weights(), folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path) -> Saved:
        model = cls(**json.loads((folder / "config.json").read_text()))
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        return model


class _ForgetsGain(Saved):
    keys = ("in_channels", "num_classes")


@planted("check_save_pretrained", because="output after save_pretrained")
def ForgottenOption(in_channels: int, num_classes: int) -> nn.Module:
    """An option is left out of the configuration."""
    return _ForgetsGain(in_channels, num_classes, gain=3.0)


@planted("check_save_pretrained", because=r"lacks .*running_mean")
class SavesParametersOnly(Saved):
    """Leaves the running statistics out of the file."""

    def weights(self) -> dict[str, Tensor]:
        return {n: p.detach() for n, p in self.named_parameters()}


@planted("check_changed_roundtrip", because=r"loading after .*reset_head\(5\) raised RuntimeError.*head\.weight")
class ForgetsNewHead(Saved):
    """Makes a new head, and saves the number of classes it was built with."""

    def reset_head(self, num_classes: int) -> None:
        self.head = nn.Conv2d(self.head.in_channels, num_classes, 1).to(self.head.weight)


@planted("check_changed_roundtrip", because=r"saving and loading after .*set_gradient_checkpointing")
class WrapsItsBlocks(SmallUNet):
    """Puts its blocks into another module for checkpointing, which renames their keys."""

    def set_gradient_checkpointing(self, enable: bool) -> None:
        self.encoder = nn.ModuleList(nn.Sequential(block) for block in self.encoder)


@planted("check_changed_roundtrip", because=r"after .*reset_head\(5\) a training output has \[2\] channels, expected 5")
class LeavesAuxiliaryHead(SmallUNet):
    """Makes a new head, and not the one of its deep supervision."""

    def __init__(self, in_channels: int, num_classes: int, deep_supervision: bool = False) -> None:
        super().__init__(in_channels, num_classes)
        self.auxiliary = nn.Conv2d(4, num_classes, 1) if deep_supervision else None

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        if self.auxiliary is None or not self.training:
            return logits
        return [logits, self.auxiliary(self.encode(x)[0])]

    def reset_head(self, num_classes: int) -> None:
        self.head = nn.Conv2d(4, num_classes, 1).to(self.head.weight)


class WakesUp(nn.BatchNorm2d):
    """Is in training mode once it is copied."""

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self.training = True


@planted("check_deepcopy", because=r"In training mode, as the original is not: encoder\.0\.1")
@planted("check_pickle", because=r"In training mode, as the original is not: encoder\.0\.1")
class CopiesTrain(SmallUNet):
    """Copies of it in evaluation mode normalize by the batch."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, norm=WakesUp)


@planted("check_deepcopy", because=r"another requires_grad in encoder\.0\.0\.weight")
class CopiesThaw(SmallUNet):
    """Is copied by building another and loading the weights."""

    def __deepcopy__(self, memo: dict[int, object]) -> CopiesThaw:
        twin = CopiesThaw(self.encoder[0][0].in_channels, self.head.out_channels)
        twin.load_state_dict(self.state_dict())
        return twin.to(self.head.weight).train(self.training)
