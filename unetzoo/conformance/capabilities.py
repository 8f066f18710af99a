"""What a network says about itself: the capabilities that decide which checks apply and what they hold it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Capabilities:
    """Declared or probed properties. Per-axis values have `ndim` entries and count pixels of the input.

    A legal size is, on each axis, `size_offset + k * divisor` that is at least `min_size` (or exactly
    `fixed_size`); the output then measures `size - margin`. `None` means that nothing is declared and the checks
    of that capability do not apply.
    """

    ndim: int = 2
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

    def declare(self, values: Mapping[str, object]) -> Capabilities:
        """These capabilities with `values` declared; a single number stands for every axis.

        Raises ValueError for a name that is not a capability.
        """
        known = {f.name for f in fields(self)} - {"declared"}
        ndim = int(str(values.get("ndim", self.ndim)))
        converted: dict[str, object] = {}
        for name, value in values.items():
            if name not in known:
                near = get_close_matches(name, known, n=3, cutoff=0.5)
                raise ValueError(
                    f"unknown capability {name!r}; nearest: {', '.join(near) or 'none'}; all: {sorted(known)}"
                )
            converted[name] = self._converted(name, value, ndim)
        return replace(self.of_ndim(ndim), **converted, declared=self.declared | set(converted))  # type: ignore[arg-type]

    def of_ndim(self, ndim: int) -> Capabilities:
        """These capabilities with the size rule of as many axes; the last axis is repeated where there are too few."""
        axes = {name: getattr(self, name) for name in ("min_size", "divisor", "size_offset", "margin")}
        return replace(self, ndim=ndim, **{n: (v + v[-1:] * ndim)[:ndim] for n, v in axes.items()})

    @staticmethod
    def _converted(name: str, value: object, ndim: int) -> object:
        per_axis = {"min_size", "divisor", "size_offset", "fixed_size", "margin", "shift_period", "receptive_field"}
        if name in per_axis | {"macs_size"} and isinstance(value, int):
            return (value,) * ndim
        if name == "supports" and isinstance(value, (list, tuple, set, frozenset)):
            return frozenset(map(str, value))
        if name in {"tied", "features"} and isinstance(value, (list, tuple)):
            return tuple(tuple(group) for group in value)
        return tuple(value) if isinstance(value, list) else value
