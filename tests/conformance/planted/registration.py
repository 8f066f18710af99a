"""Networks that break the contract of registration and construction."""

from __future__ import annotations

import inspect
import random
import sys
from pathlib import Path
from typing import ClassVar

import numpy
import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_create_signature", because="keyword|classes")
def positional_only(in_channels: int, classes: int) -> nn.Module:
    """Calls the number of classes something else."""
    return SmallUNet(in_channels, classes)


@planted("check_create_signature", because="float64")
class DoubleAtBirth(SmallUNet):
    """Comes as float64."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.double()


@planted("check_unknown_kwargs", because="silently accepted")
def swallows_options(in_channels: int, num_classes: int, **options: object) -> nn.Module:
    """Ignores keywords it does not know."""
    return SmallUNet(in_channels, num_classes)


@planted("check_create_twice", because="another network|default arguments changed")
def grows_its_default(in_channels: int, num_classes: int, widths: list[int] = [4]) -> nn.Module:  # noqa: B006
    """Appends to a mutable default."""
    widths.append(widths[-1] + 1)
    return SmallUNet(in_channels, num_classes, width=widths[-1])


@planted("check_create_twice", because="caller's.*widths|default arguments changed")
def reverses_the_callers_list(in_channels: int, num_classes: int, widths: list[int] = [4, 4, 5]) -> nn.Module:  # noqa: B006
    """Modifies the list it was handed."""
    widths.reverse()
    return SmallUNet(in_channels, num_classes)


SHARED_HEAD: dict[tuple[int, int], nn.Module] = {}


@planted("check_create_twice", because="share parameters")
class CachedHead(SmallUNet):
    """Takes its head from a module-level cache."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head = SHARED_HEAD.setdefault((self.head.in_channels, num_classes), self.head)


@planted("check_create_seeded", because="manual_seed")
class SeedsItself(SmallUNet):
    """Calls manual_seed in its constructor."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        torch.manual_seed(42)
        super().__init__(in_channels, num_classes)


@planted("check_create_seeded", because="generator of its own")
class PrivateGenerator(SmallUNet):
    """Draws its weights from a private generator with a fixed seed."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


@planted("check_create_seeded", because="another generator than torch's")
class NumpyWeights(SmallUNet):
    """Draws its head from numpy."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(numpy.random.randn(*self.head.weight.shape)))


@planted("check_import_light", because="changed os.environ")
def import_with_side_effects(in_channels: int, num_classes: int) -> nn.Module:
    """Its home module sets an environment variable when imported."""
    return SmallUNet(in_channels, num_classes)


# The check imports the module by name in a process of its own.
sys.path.append(str(Path(__file__).parents[1]))
import_with_side_effects.__module__ = "noisy_import"


@planted("check_metadata", because="declared 12345", capabilities={"num_params": 12345})
class WrongCount(SmallUNet):
    """Declares another number of parameters than it has."""


@planted("check_metadata", because="two to a multiply", capabilities={"macs": 2 * 4603904, "macs_size": (64, 64)})
class FlopsForMacs(SmallUNet):
    """Declares FLOPs as multiply-accumulates."""


@planted("check_device_context", because="Tensor|meta|item")
class ItemInInit(SmallUNet):
    """Reads a value of a tensor at construction."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.rates = [x.item() for x in torch.linspace(0, 0.1, 3)]


@planted("check_device_context", because="not there")
class BuiltOnCpu(SmallUNet):
    """Names the CPU in its constructor."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("scale", torch.ones(1, device="cpu"))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.scale


@planted("check_create_seeded", because="another generator than torch's")
class PythonWeights(SmallUNet):
    """Scales its head by python's random."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        with torch.no_grad():
            self.head.weight.mul_(1 + random.random())


@planted("check_create_seeded", because=r"random-looking \['head\.weight'\]")
class PrivateSeed(SmallUNet):
    """Draws the weights of its head from a generator of its own."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        drawn = torch.randn(self.head.weight.shape, generator=torch.Generator().manual_seed(0))
        self.head.weight = nn.Parameter(drawn.to(self.head.weight.device))


@planted("check_unknown_kwargs", because="=False was silently accepted")
def drops_empty_options(in_channels: int, num_classes: int, **options: object) -> nn.Module:
    """Leaves options that are off aside, whatever they are called."""
    return SmallUNet(in_channels, num_classes, **{name: v for name, v in options.items() if v})  # type: ignore[arg-type]


@planted("check_unknown_kwargs", because="encoder_no_such.* was silently accepted")
def drops_encoder_options(in_channels: int, num_classes: int, **options: object) -> nn.Module:
    """Has no encoder to hand the encoder's options to."""
    kept = {name: v for name, v in options.items() if not name.startswith("encoder_")}
    return SmallUNet(in_channels, num_classes, **kept)  # type: ignore[arg-type]


@planted("check_create_twice", because="a later call gave another network")
class EditsItsPreset(SmallUNet):
    """Changes the preset of the class when it is built for one class."""

    preset: ClassVar = {"width": 4}

    def __init__(self, in_channels: int, num_classes: int) -> None:
        if num_classes == 1:
            self.preset["width"] = 6
        super().__init__(in_channels, num_classes, width=self.preset["width"])


class _Preset:
    __signature__ = inspect.Signature(
        [
            inspect.Parameter("in_channels", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            inspect.Parameter("num_classes", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            inspect.Parameter("width", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=4),
        ]
    )
    __name__ = "AnotherDefault"
    __doc__ = "Shows a default and takes another one."

    def __call__(self, in_channels: int, num_classes: int, width: int = 6) -> nn.Module:
        return SmallUNet(in_channels, num_classes, width=width)


planted("check_create_twice", because="the signature's own defaults gave another network")(_Preset())


@planted("check_create_seeded", because="python's random")
class SeedsPython(SmallUNet):
    """Seeds python's generator, and draws its weights from torch's."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        random.seed(0)


@planted("check_create_seeded", because="two networks made in a row are the same")
class PutsGeneratorBack(SmallUNet):
    """Draws its weights in a copy of torch's random state."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(in_channels, num_classes)


@planted("check_create_seeded", because="random-looking .*table")
class SeedsItsTable(SmallUNet):
    """Draws a table that is learned from a seed of its own."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.table = nn.Parameter(torch.randn(4, 32, generator=torch.Generator().manual_seed(1)))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.table.square().mean()
