"""Capabilities of a model: facts that its config states, its adapter fills in, and the conformance suite verifies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema

from unetzoo.components.mistakes import explain
from unetzoo.errors import nearest

Axes = tuple[int, ...]
SIZE_RULE = ("min_size", "divisor", "size_offset", "margin")
PER_AXIS = (*SIZE_RULE, "fixed_size", "shift_period", "receptive_field", "macs_size")
NAMES = ("frozen", "reused", "casts")  # of parameters or modules


@dataclass(frozen=True)
class Capabilities:
    """Declared or probed properties. Per-axis values have `ndim` entries and count pixels of the input.

    A legal size is, on each axis, `size_offset + k * divisor` that is at least `min_size` (or exactly
    `fixed_size`); the output then measures `size - margin`. `None` means that nothing is declared and the checks
    of that capability do not apply.
    """

    ndim: int = 2
    dimensions: tuple[int, ...] = (2, 3)
    """Numbers of spatial dimensions that the model can be created with."""
    min_size: Axes = (1, 1)
    divisor: Axes = (1, 1)
    size_offset: Axes = (0, 0)
    fixed_size: Axes | None = None
    margin: Axes = (0, 0)
    """Input size less output size: 0 for padded networks, 184 for the unpadded U-Net of 2015."""
    deep_supervision: bool | None = None
    """Training mode returns several tensors, by default or with the builder's option `deep_supervision=True`."""
    outputs_train: int = 1
    """Number of tensors that training mode returns as built by default, finest first."""
    ds_strides: Axes | None = None
    """Stride of each training output against the first one; None means all have its size."""
    shift_period: Axes | None = None
    """Shifting the input by this period shifts the output alike; None for absolute positions or global statistics."""
    receptive_field: Axes | None = None
    """Radius per axis beyond which an input pixel has no influence; None for global context."""
    path_strides: tuple[int, ...] | None = None
    """The largest strides met on the paths from input to output: (1, 2, 4, 8, 16) for the classic U-Net."""
    no_skips: bool | None = None
    """Every path from input to output passes the coarsest level (an autoencoder)."""
    global_context: bool | None = None
    """Some layer sees the whole image (global pooling, attention, instance or group normalization)."""
    coarsest_stride: int = 1
    """Stride of the coarsest feature map."""
    deepest_stride: int = 1
    """Of volumes: the same along one axis, levels included that are one pixel in the images of most checks."""
    batch_coupled_train: bool = False
    """Samples of a batch meet in training mode (batch normalization)."""
    batch1_train: bool = True
    """A batch of one can be trained on."""
    stochastic_train: bool = False
    """Training mode draws random numbers (dropout, stochastic depth)."""
    zero_init_output: bool = False
    """The logits are zero at initialization by intention."""
    deterministic_cuda: bool = True
    """A train step runs under `torch.use_deterministic_algorithms` on CUDA."""
    tied: tuple[tuple[str, ...], ...] = ()
    """Groups of parameter names that share one tensor by intention."""
    reused: tuple[str, ...] = ()
    """Names of modules with parameters that one forward calls more than once by intention."""
    frozen: tuple[str, ...] = ()
    """Names of parameters that are not trained by intention."""
    surrogate_gradients: bool = False
    """Some gradients are not those of the function by intention (a straight-through estimator)."""
    features: tuple[tuple[int, int], ...] | None = None
    """(channels, stride) of each feature map of `model.encoder`, finest first."""
    num_params: int | None = None
    macs: float | None = None
    """Multiply-accumulate operations at `macs_size`, batch of one."""
    macs_size: Axes | None = None
    default_in_channels: int | None = None
    """Input channels that `num_params` and `macs` were counted with; likewise `default_num_classes`."""
    default_num_classes: int | None = None
    casts: tuple[str, ...] = ()
    """Names of modules that compute in a floating type other than their input's by intention."""
    supports: frozenset[str] = frozenset()
    """Optional interfaces: deep_supervision, grad_checkpointing, reset_head, freeze_encoder, features,
    save_pretrained."""
    declared: frozenset[str] = field(default=frozenset())
    """Names of the capabilities that were declared; the others were probed or are defaults."""

    def output_size(self, size: Axes) -> Axes:
        """Spatial size of the output for an input of this spatial size."""
        return tuple(s - m for s, m in zip(size, self.margin, strict=True))

    def legal(self, size: Axes) -> Axes:
        """The smallest legal size that is at least `size` on every axis (`fixed_size` where there is one)."""
        if self.fixed_size is not None:
            return self.fixed_size
        rules = zip(size, self.min_size, self.divisor, self.size_offset, strict=True)
        return tuple(o + -(-(max(s, m) - o) // d) * d for s, m, d, o in rules)

    @staticmethod
    def of(values: object) -> Capabilities:
        """Return capabilities with the values of a mapping declared; anything else is returned unchanged."""
        return Capabilities().declare(values) if isinstance(values, Mapping) else values  # type: ignore[return-value]

    def declare(self, values: Mapping[str, object]) -> Capabilities:
        """Return these capabilities with `values` declared; a single number stands for every axis.

        Raises ValueError for an unknown name or a value of another type; the message lists all.
        """
        known = [f.name for f in fields(self) if f.name != "declared"]
        ndim = int(str(values.get("ndim", self.ndim)))
        mistakes, converted = [], {}
        for name, value in values.items():
            if name not in known:
                mistakes.append(f"unknown capability {name!r}{nearest(name, known)} (capabilities: {', '.join(known)})")
                continue
            if name in PER_AXIS and isinstance(value, int):
                value = (value,) * ndim
            try:
                converted[name] = _adapter(name).validate_python(value)
            except ValidationError as error:
                mistakes.append(f"{name}: {explain(error.errors()[0])}")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return replace(self.of_ndim(ndim), **converted, declared=self.declared | set(converted))

    def without(self, names: Collection[str]) -> Capabilities:
        """Return these capabilities with some of them no longer declared."""
        kept = {name: getattr(self, name) for name in self.declared if name not in names}
        return replace(Capabilities().of_ndim(self.ndim), **kept, declared=frozenset(kept))

    def stated(self) -> dict[str, Any]:
        """Return what is declared as plain data, as a config states it."""
        return {name: _plain(getattr(self, name)) for name in sorted(self.declared)}

    def of_ndim(self, ndim: int) -> Capabilities:
        """These capabilities with the size rule of as many axes; the last axis is repeated where there are too few."""
        axes = {name: getattr(self, name) for name in SIZE_RULE}
        return replace(self, ndim=ndim, **{n: (v + v[-1:] * ndim)[:ndim] for n, v in axes.items()})


def _plain(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return sorted(value) if isinstance(value, frozenset) else value


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(Capabilities)[name], config=ConfigDict(arbitrary_types_allowed=True))


Stated = Annotated[
    Capabilities,
    BeforeValidator(Capabilities.of),
    PlainSerializer(Capabilities.stated, return_type=dict),
    WithJsonSchema({"type": "object", "description": "capabilities that the model declares, by name"}),
]
