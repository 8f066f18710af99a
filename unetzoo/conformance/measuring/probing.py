"""Finds out by trying what a network does not declare: legal sizes, output rule, training outputs, context."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from unetzoo.analysis.operations import leaves, watching
from unetzoo.analysis.paths import GLOBAL, map_stride, path_spectrum
from unetzoo.capabilities import Axes, Capabilities
from unetzoo.conformance.definition.context import Builder, perturb_parameters, tensors_in, warm_statistics
from unetzoo.conformance.definition.outcomes import CheckFailed
from unetzoo.conformance.measuring.reach import affordable, long_image, period, receptive_field, shift_error, space

FIRST_SIZES = {1: (64, 128, 256, 32, 16), 2: (64, 96, 128, 224, 256, 188, 572, 32, 16), 3: (32, 48, 64, 96, 128, 16)}
STEPS = (1, 2, 4, 8, 16, 32, 64, 7, 14, 28, 56)
WIDE = 32
"""Length, in coarsest strides, of an image that a chain of convolutions does not span."""
SMALL_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128)
LONG = 8
"""How many times longer than the others the last axis of a volume is that shows its deepest levels."""
METHODS = {
    "grad_checkpointing": ("set_gradient_checkpointing", "set_grad_checkpointing"),
    "reset_head": ("reset_head", "reset_classifier"),
    "freeze_encoder": ("freeze_encoder",),
    "save_pretrained": ("save_pretrained",),
}


def probe(
    builder: Builder, in_channels: int, num_classes: int, declared: Mapping[str, object], seed: int
) -> Capabilities:
    """Capabilities of the builder's network: those declared, and the others found by trying on the CPU.

    A network that cannot be built or run gives the defaults: the gate checks then say what is wrong.
    """
    capabilities = Capabilities().declare(declared)
    torch.manual_seed(seed)
    try:
        return Prober(
            builder(in_channels=in_channels, num_classes=num_classes), in_channels, capabilities
        ).capabilities(builder)
    except Exception:  # whatever a stranger's network raises is reported by the checks
        return capabilities


class Prober:
    """Tries one network on the CPU."""

    def __init__(self, model: nn.Module, in_channels: int, capabilities: Capabilities) -> None:
        self.model = model
        model.eval()
        self.in_channels = in_channels
        self.given = capabilities
        perturb_parameters(model, 0)

    def capabilities(self, builder: Builder) -> Capabilities:
        """All capabilities. Raises CheckFailed where the network runs at no size that was tried."""
        given = self.given
        base, margin = self._first_size()
        ndim = len(base)
        found: dict[str, object] = {"ndim": ndim, "margin": margin}
        divisor, offset, fixed = self._size_rule(base, margin)
        found |= {"divisor": divisor, "size_offset": offset, "fixed_size": fixed}
        if any(margin) and fixed is None and "margin" not in given.declared:
            found["size_offset"], found["margin"] = self._tightest(base, divisor)
        values = {name: value for name, value in found.items() if name not in given.declared}
        capabilities = replace(given.of_ndim(ndim), **values)  # type: ignore[arg-type]
        if "min_size" not in given.declared:
            capabilities = replace(
                capabilities, min_size=fixed or self._told_min_size(ndim) or self._min_size(capabilities, base)
            )
        return self._behavior(capabilities, base, builder)

    def run(self, size: Sequence[int], *, train: bool = False) -> list[Tensor] | None:
        """Outputs at this size, or None where the network raises."""
        x = torch.randn((2, self.in_channels, *size), generator=torch.Generator().manual_seed(sum(size)))
        self.model.train(train)
        try:
            with torch.no_grad():
                return tensors_in(self.model(x))
        except Exception:  # a refusal is an answer: the size is not legal
            return None
        finally:
            self.model.eval()

    def _first_size(self) -> tuple[Axes, Axes]:
        given = self.given
        dimensions = [given.ndim] if "ndim" in given.declared else [2, 3, 1]
        for ndim in dimensions:
            if given.fixed_size is not None and len(given.fixed_size) == ndim:
                candidates = [given.fixed_size]
            else:
                sizes = [(s,) * ndim for s in FIRST_SIZES[ndim]]
                candidates = [given.legal(s) for s in sizes] if len(given.divisor) == ndim else sizes
            for size in candidates:
                out = self.run(size)
                if out is not None and out[0].dim() == ndim + 2:
                    return size, tuple(s - o for s, o in zip(size, out[0].shape[2:], strict=True))
        raise CheckFailed("runs at no size that was tried")

    def _output_size(self, size: Sequence[int]) -> Axes | None:
        out = self.run(size)
        return None if out is None or out[0].dim() != len(size) + 2 else tuple(out[0].shape[2:])

    def _fits(self, size: Axes, margin: Axes) -> bool:
        return self._output_size(size) == tuple(s - m for s, m in zip(size, margin, strict=True))

    def _size_rule(self, base: Axes, margin: Axes) -> tuple[Axes, Axes, Axes | None]:
        """Divisor and offset per axis, or a fixed size where nothing but the first size works."""
        if {"divisor", "fixed_size"} & self.given.declared:
            return self.given.divisor, self.given.size_offset, self.given.fixed_size
        divisor: list[int] = []
        for axis in range(len(base)):
            for step in STEPS:
                more = [(*base[:axis], base[axis] + k * step, *base[axis + 1 :]) for k in (1, 2, 3)]
                if all(self._fits(size, margin) for size in more):
                    divisor.append(step)
                    break
            else:
                equal = [tuple(b + sign * step for b in base) for step in STEPS for sign in (1, -1) if step < min(base)]
                if all(self._output_size(size) is None for size in equal):
                    return (1,) * len(base), (0,) * len(base), base
                # Works on squares or small images alone, or gives one size: left to check_output_shape to report.
                divisor.append(1)
        return tuple(divisor), tuple(b % d for b, d in zip(base, divisor, strict=True)), None

    def _tightest(self, base: Axes, divisor: Axes) -> tuple[Axes, Axes]:
        """Unpadded networks crop: the offset at which the least is lost, and the margin there."""
        best: dict[Axes, Axes] = {}
        for step in range(max(divisor)):
            size = tuple(b + step % d for b, d in zip(base, divisor, strict=True))
            out = self._output_size(size)
            if out is not None:
                lost = tuple(s - o for s, o in zip(size, out, strict=True))
                best.setdefault(lost, tuple(s % d for s, d in zip(size, divisor, strict=True)))
        margin = min(best, key=sum)
        return best[margin], margin

    def _told_min_size(self, ndim: int) -> Axes | None:
        """The least size by the card of a network that unetzoo made."""
        held = getattr(self.model, "capabilities", None)
        if not isinstance(held, Capabilities) or "min_size" not in held.declared:
            return None
        return held.of_ndim(ndim).min_size

    def _min_size(self, capabilities: Capabilities, base: Axes) -> Axes:
        """The smallest equal-sided legal size from which everything tried works, in eval and in training mode."""
        ndim, least = len(base), base
        tried = {capabilities.legal((s,) * ndim) for s in SMALL_SIZES}
        for size in sorted(s for s in tried if all(a <= b for a, b in zip(s, base, strict=True)))[::-1]:
            wanted = capabilities.output_size(size)
            out, trained = self.run(size), self.run(size, train=True)
            if out is None or trained is None or tuple(out[0].shape[2:]) != wanted or min(wanted) < 1:
                break
            least = size
        return least

    def _behavior(self, capabilities: Capabilities, base: Axes, builder: Builder) -> Capabilities:
        """Capabilities about training outputs, stochasticity, context and optional interfaces."""
        found: dict[str, object] = {"coarsest_stride": self._coarsest_stride(base)}
        trained = self.run(base, train=True)
        if trained is not None:
            found["outputs_train"] = len(trained)
            widths = [t.shape[-1] for t in trained if t.dim() == len(base) + 2]
            found["ds_strides"] = tuple(round(widths[0] / w) for w in widths) if all(widths) else None
            again = self.run(base, train=True)
            found["stochastic_train"] = again is not None and not all(map(torch.equal, trained, again))
            found["deep_supervision"] = len(trained) > 1 or _accepts(builder, "deep_supervision")
        batch_norm = [m for m in self.model.modules() if getattr(m, "running_mean", None) is not None]
        found["batch_coupled_train"] = bool(batch_norm)
        supports = {name for name, methods in METHODS.items() if any(hasattr(self.model, m) for m in methods)}
        encoder = getattr(self.model, "encoder", None)
        if hasattr(encoder, "channels") and hasattr(encoder, "strides"):
            supports.add("features")
        if _accepts(builder, "deep_supervision"):
            supports.add("deep_supervision")
        found["supports"] = frozenset(supports)
        found["zero_init_output"] = self._is_zero_at_init(builder, base)
        if capabilities.ndim == 3:
            found["deepest_stride"] = self._deepest_stride(capabilities, base)
        capabilities = replace(capabilities, **{n: v for n, v in found.items() if n not in capabilities.declared})  # type: ignore[arg-type]
        found = self._space(capabilities, base)
        return replace(capabilities, **{n: v for n, v in found.items() if n not in capabilities.declared})  # type: ignore[arg-type]

    def _space(self, capabilities: Capabilities, base: Axes) -> dict[str, object]:
        """Capabilities about context, receptive field, shifts and paths, from a float64 network in eval mode."""
        multiple = tuple((2 + axis) * p for axis, p in enumerate(period(capabilities)))
        shape = (2, self.in_channels, *capabilities.legal(multiple))
        x = torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        try:
            model = self.model
            model.train()
            warm_statistics(model, x.float())
            model.double()
            model.eval()
            found: dict[str, object] = {} if any(capabilities.margin) else {"path_strides": self._paths(model, x)}
            everything = self._sees_everything(model, capabilities, base)
            radius = capabilities.receptive_field
            if radius is None and not everything:
                radius = receptive_field(model, self.in_channels, capabilities, base)
        except (
            RuntimeError,
            TypeError,
            ValueError,
        ):  # no float64 or no graph in this network: other checks report it
            return {}
        found["receptive_field"] = radius
        found["global_context"] = everything if radius is None else False
        if radius is not None:
            found["shift_period"] = self._shift_period(model, capabilities, radius)
        return found

    def _paths(self, model: nn.Module, x: Tensor) -> tuple[int, ...]:
        x = x.clone().requires_grad_()
        out = tensors_in(model(x))[0]
        noise = torch.randn(out.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        return tuple(s for s in path_spectrum(x, (out * noise).sum()).alive if s != GLOBAL)

    def _shift_period(self, model: nn.Module, capabilities: Capabilities, radius: Axes) -> Axes | None:
        generator = torch.Generator().manual_seed(7)

        def image(size: Axes) -> Tensor:
            return torch.randn((1, self.in_channels, *size), generator=generator, dtype=torch.float64)

        shift = period(capabilities)
        by_axis = enumerate(zip(radius, shift, strict=True))
        errors = (shift_error(model, image, capabilities, axis, r, p) for axis, (r, p) in by_axis)
        return shift if all(error < 1e-9 for error in errors) else None

    def _coarsest_stride(self, base: Axes) -> int:
        """Ratio of the input to the smallest feature map that has more than one pixel, along whichever axis."""
        strides = [map_stride(shape, (2, 1, *base)) or _uneven_stride(shape, base) for shape in self._shapes(base)]
        return 1 << max(s for s in (1, *strides) if s != GLOBAL).bit_length() - 1

    def _deepest_stride(self, capabilities: Capabilities, base: Axes) -> int:
        """Ratio of the length of a long input to that of the shortest feature map that has more than one pixel."""
        size = capabilities.legal((*base[:-1], LONG * base[-1]))
        lengths = [shape[-1] for shape in self._shapes(size) if len(shape) == len(size) + 2 and shape[-1] > 1]
        return round(size[-1] / min(lengths, default=size[-1]))

    def _shapes(self, size: Axes) -> list[torch.Size]:
        """The shapes that the layers of a forward put out."""
        shapes: list[torch.Size] = []

        def note(name: str, module: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes.append(output.shape)

        with watching(leaves(self.model), note):
            self.run(size)
        return shapes

    def _is_zero_at_init(self, builder: Builder, base: Axes) -> bool:
        torch.manual_seed(0)
        fresh = builder(in_channels=self.in_channels, num_classes=2)
        fresh.eval()
        x = torch.randn((1, self.in_channels, *base), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            out = tensors_in(fresh(x))[0]
        return not bool(out.any())

    def _sees_everything(self, model: nn.Module, capabilities: Capabilities, base: Axes) -> bool | None:
        """Whether the middle of a long image reaches its end; None where that is too costly to try, as in volumes."""
        last = capabilities.ndim - 1
        size = long_image(capabilities, last, max(WIDE * capabilities.coarsest_stride, base[last]))
        tried = capabilities.fixed_size is None and capabilities.ndim < 3
        if not tried or not affordable(model, self.in_channels, size, capabilities, base):
            return None
        x = torch.zeros((1, self.in_channels, *size), dtype=torch.float64)
        x[space(s // 2 for s in size)] = torch.nan
        with torch.no_grad():
            out = tensors_in(model(x))[0]
        return bool(out[..., -1].isnan().any())


def _uneven_stride(shape: Sequence[int], size: Axes) -> int:
    """The largest stride of a map whose strides differ between the axes; 1 for a tensor that is no map."""
    if len(shape) != len(size) + 2 or 0 in shape or max(shape[2:]) == 1:
        return 1
    ratios = [(round(s / m), s, m) for s, m in zip(size, shape[2:], strict=True)]
    return max(r for r, _, _ in ratios) if all(r >= 1 and abs(s - r * m) < r for r, s, m in ratios) else 1


def _accepts(builder: Builder, option: str) -> bool:
    try:
        return option in inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return False


def default_size(capabilities: Capabilities) -> Axes:
    """A legal size, different on each axis where the network allows.

    The coarsest level has at least two pixels on each axis in 2-D. In 3-D, where a pixel there is a large volume, it
    has two on the last axis: batch normalization over a batch of single pixels would tell nothing but their signs.
    """
    least = (
        max(16, 2 * capabilities.coarsest_stride) if capabilities.ndim < 3 else max(12, capabilities.coarsest_stride)
    )
    step = [max(4, capabilities.coarsest_stride // 2, d) for d in capabilities.divisor]
    wanted = [max(least + m, lo) for m, lo in zip(capabilities.margin, capabilities.min_size, strict=True)]
    size = [w + axis * s for axis, (w, s) in enumerate(zip(wanted, step, strict=True))]
    return capabilities.legal((*size[:-1], max(size[-1], 2 * capabilities.deepest_stride)))
