"""Networks whose state dict is not the whole network, or that load anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.networks import SmallUNet
from tests.conformance.planting import planted


@planted("check_state_dict_roundtrip", because=r"projection \(not in the state dict\)")
class RandomBufferNotSaved(SmallUNet):
    """Multiplies by a random buffer that is not persistent."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("projection", torch.randn(num_classes, 1, 1), persistent=False)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.projection


@planted("check_state_dict_roundtrip", because=r"model\.frequencies\.0 \(a plain attribute\)")
class RandomTensorInList(SmallUNet):
    """Keeps random Fourier frequencies in a plain list."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.frequencies = [torch.randn(num_classes, 1, 1)]

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.frequencies[0].to(logits)


@planted("check_state_dict_roundtrip", because=r"model\.steps = 3")
class CounterInPython(SmallUNet):
    """Anneals its logits by a count of training steps that only Python knows."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.steps = 0

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        self.steps += self.training
        return logits / (1 + self.steps)


@planted("check_state_dict_roundtrip", because=r"head\.bias \(not in the state dict\)")
class DroppedKey(SmallUNet):
    """Leaves a parameter out of the state dict, and forgives its absence."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        state = super().state_dict(*args, **kwargs)
        del state["head.bias"]
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return super().load_state_dict({"head.bias": self.head.bias, **state}, *args, **kwargs)


@planted("check_state_dict_roundtrip", because=r"head\.weight.* differ from what was saved|differ from what was saved")
class SavedInHalf(SmallUNet):
    """Rounds what it loads to half precision."""

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        rounded = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
        return super().load_state_dict(rounded, *args, **kwargs)


class _Settings:
    """Something that is not a tensor."""


@planted("check_state_dict_roundtrip", because=r"weights_only.*_extra_state")
class ObjectInState(SmallUNet):
    """Saves an object of its own as extra state."""

    def get_extra_state(self) -> _Settings:
        return _Settings()

    def set_extra_state(self, state: _Settings) -> None:
        pass


@planted("check_load_strict", because=r"without 'encoder\.0\.0\.weight'")
class LenientLoading(SmallUNet):
    """Always loads with strict=False."""

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state, strict=False, assign=assign)


class _LenientConv(nn.Conv2d):
    """Does not mind missing weights."""

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: Any) -> None:
        missing = args[2]
        super()._load_from_state_dict(state, prefix, *args)  # type: ignore[misc]
        missing[:] = [name for name in missing if not name.startswith(prefix)]


@planted("check_load_strict", because=r"without 'head\.weight'")
class LenientHead(SmallUNet):
    """One layer of many does not report its missing keys."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head = _LenientConv(4, num_classes, 1)


@planted("check_load_strict", because=r"accepts 'head\.(weight|bias)' of shape")
class DropsWrongShapes(SmallUNet):
    """Silently leaves out what does not fit."""

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        own = self.state_dict()
        fitting = {
            n: own[n] if n.startswith("head.") and n in own and own[n].shape != t.shape else t for n, t in state.items()
        }
        return super().load_state_dict(fitting, *args, **kwargs)


@planted("check_load_strict", because=r"unexpected key")
class IgnoresUnexpected(SmallUNet):
    """Filters the state dict by its own keys."""

    def load_state_dict(self, state: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return super().load_state_dict({n: t for n, t in state.items() if n in self.state_dict()}, *args, **kwargs)


@planted("check_load_assign", because=r"head\.weight|plain attribute")
class KeptWeight(SmallUNet):
    """Uses an alias of its head's weight that was taken at construction."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.kept = (self.head.weight,)

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits + self.kept[0].sum()


@planted("check_safetensors", because=r"decoder\.0\.0\.weight = decoder\.0\.2\.weight|share memory")
class SharedLayer(SmallUNet):
    """Registers one layer under two names."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.classifier = self.head


@planted("check_safetensors", because=r"share memory: both = second|share memory")
class BufferViews(SmallUNet):
    """Two buffers are views of one tensor."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        both = torch.ones(2, num_classes, 1, 1)
        self.register_buffer("both", both)
        self.register_buffer("second", both[1])

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.both[0] * self.second


@planted("check_safetensors", because="coordinates are not contiguous")
class TransposedBuffer(SmallUNet):
    """Registers a transposed view."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("coordinates", torch.rand(num_classes, 2).t())

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + self.coordinates.sum()


@planted("check_load_strict", because="returned None, expected")
class LoadReturnsNothing(SmallUNet):
    """Overrides load_state_dict without returning."""

    def load_state_dict(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        super().load_state_dict(*args, **kwargs)


@planted("check_state_dict_contract", because="Take and pass on destination, prefix and keep_vars")
class StateDictAlone(SmallUNet):
    """Overrides state_dict without its arguments, so that no other module can hold the network."""

    def state_dict(self) -> dict[str, Tensor]:  # type: ignore[override]
        return super().state_dict()


@planted("check_state_dict_contract", because="are copies")
class CopiedState(SmallUNet):
    """Gives copies of its tensors as state."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        state = super().state_dict(*args, **kwargs)
        for name in list(state):
            state[name] = state[name].clone()
        return state


@planted("check_state_dict_roundtrip", because="load_state_dict left the network in eval mode")
class EvalAfterLoading(SmallUNet):
    """Sets itself to eval mode once weights are loaded."""

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        result = super().load_state_dict(*args, **kwargs)
        self.eval()
        return result


@planted("check_state_dict_roundtrip", because="load_state_dict changed requires_grad")
class FrozenAfterLoading(SmallUNet):
    """Freezes itself once weights are loaded."""

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        result = super().load_state_dict(*args, **kwargs)
        self.requires_grad_(False)
        return result


@planted("check_safetensors", because="scale are not contiguous")
class ExpandedParameter(SmallUNet):
    """Keeps one number as a parameter of as many entries as there are classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.scale = nn.Parameter(torch.ones(1, 1, 1, 1).expand(1, num_classes, 1, 1))

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits * self.scale


@planted("check_state_dict_roundtrip", because="into a network that has been used")
class CachesItsHead(SmallUNet):
    """Keeps the weight of its head, standardized, from the first eval forward on."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.register_buffer("standard", None, persistent=False)

    def finish(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.training:
            self.standard = None
        elif self.standard is None or self.standard.dtype != x.dtype:
            self.standard = self.head.weight.detach().mean()
        return logits if self.standard is None else logits + self.standard


@planted("check_load_assign", because="stay on meta: assign is not passed on")
class CopiesInto(SmallUNet):
    """Loads its head by copying into it."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.head.register_load_state_dict_pre_hook(self._copy)

    @staticmethod
    def _copy(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        with torch.no_grad():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.copy_(state[prefix + name])
                state[prefix + name] = parameter
