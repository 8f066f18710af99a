"""Exact rewrites of an exported network for inference: the same function in fewer operations.

Each rewrite works on the graph of `torch.export` in place and returns how often it applied. The numbers differ from
the network's by rounding alone.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

aten: Any = torch.ops.aten
Node = Any  # an `fx.Node`: the types of its arguments depend on what it calls

CONVOLUTIONS = {aten.conv1d.default: 1, aten.conv2d.default: 2, aten.conv3d.default: 3}
TRANSPOSED = {aten.conv_transpose1d.default: 1, aten.conv_transpose2d.input: 2, aten.conv_transpose3d.input: 3}
NEAREST = {aten.upsample_nearest2d.vec: 2, aten.upsample_nearest3d.vec: 3}
LINEAR = {aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec}
TRANSPOSE_OF = {2: aten.conv_transpose2d.input, 3: aten.conv_transpose3d.input}
IDENTITIES = {aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.alpha_dropout.default}


def rewrite(module: fx.GraphModule, fits: Callable[[Sequence[object], Sequence[object]], bool]) -> dict[str, int]:
    """Apply every rewrite to an exported network in evaluation mode.

    Args:
        module: what `torch.export.export(...).module()` returned; it is changed.
        fits: whether, for every image size that the graph is for, the first sizes are twice the second.

    Returns:
        How often each rewrite applied, by name.
    """
    counts = {
        "identities removed": _remove_identities(module),
        "normalizations folded": _fold_batch_norms(module),
        "repeated inputs folded": _fold_repeated_inputs(module),
        "1x1 convolutions moved before upsampling": _move_pointwise(module),
        "sub-pixel convolutions": _subpixel(module, fits),
    }
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return counts


def _remove_identities(module: fx.GraphModule) -> int:
    """Remove dropout, which evaluation does not apply, and padding by nothing."""
    found = [
        node
        for node in module.graph.nodes
        if node.target in IDENTITIES
        or (node.target is aten.pad.default and all(type(pixels) is int and pixels == 0 for pixels in node.args[1]))
    ]
    for node in found:
        node.replace_all_uses_with(node.args[0])
        module.graph.erase_node(node)
    return len(found)


def _fold_batch_norms(module: fx.GraphModule) -> int:
    """Fold batch normalization, by its running statistics, into the convolution before it."""
    count = 0
    for norm in _calls(module, {aten.batch_norm.default}):
        conv = norm.args[0]
        if not _is_convolution(conv) or len(conv.users) > 1 or norm.args[5]:
            continue
        weight, bias = _weights(module, conv)
        scale, shift, mean, variance = (_value(module, argument) for argument in norm.args[1:5])
        if weight is None or mean is None or variance is None:
            continue
        # In float64: folding must not add rounding of its own.
        factor = (1.0 if scale is None else scale.double()) / (variance.double() + norm.args[7]).sqrt()
        axis = 1 if conv.target in TRANSPOSED else 0
        groups = _argument(conv, "groups", 1)
        if axis == 1 and groups != 1:
            continue
        shape = [-1 if a == axis else 1 for a in range(weight.dim())]
        folded = (weight.double() * factor.reshape(shape)).to(weight.dtype)
        offset = (0.0 if bias is None else bias.double()) - mean.double()
        offset = offset * factor + (0.0 if shift is None else shift.double())
        _set_weights(module, conv, folded, offset.to(weight.dtype))
        norm.replace_all_uses_with(conv)
        module.graph.erase_node(norm)
        count += 1
    return count


def _fold_repeated_inputs(module: fx.GraphModule) -> int:
    """Fold `convolution(x) + repeat(x)` into the convolution: one more at the center tap (V-Net's first block)."""
    count = 0
    for add in _calls(module, {aten.add.Tensor, aten.add_.Tensor}):
        for conv, other in (add.args[:2], add.args[1::-1]):
            repeats = _repeats(other, conv.args[0]) if _is_convolution(conv) and conv.target in CONVOLUTIONS else 0
            weight, bias = _weights(module, conv) if repeats else (None, None)
            if weight is None or len(conv.users) > 1 or not _keeps_size(conv, weight) or add.kwargs:
                continue
            out_channels, in_channels = weight.shape[:2]
            if _argument(conv, "groups", 1) != 1 or out_channels != repeats * in_channels:
                continue
            center = tuple(length // 2 for length in weight.shape[2:])
            raised = weight.clone()
            for channel in range(out_channels):
                tap = (channel, channel % in_channels, *center)
                raised[tap] += 1
            _set_weights(module, conv, raised, bias)
            add.replace_all_uses_with(conv)
            module.graph.erase_node(add)
            count += 1
            break
    return count


def _move_pointwise(module: fx.GraphModule) -> int:
    """Apply a 1x1 convolution that lowers the number of channels before upsampling instead of after it.

    Both are linear, over channels and over space, and the weights of resampling sum to one.
    """
    count = 0
    for conv in _calls(module, set(CONVOLUTIONS)):
        upsampled = conv.args[0]
        weight, _ = _weights(module, conv)
        movable = (
            _is_node(upsampled)
            and upsampled.target in LINEAR | set(NEAREST)
            and len(upsampled.users) == 1
            and weight is not None
            and set(weight.shape[2:]) == {1}
            and set(_per_axis(conv, "stride", 1)) == {1}
            and set(_per_axis(conv, "padding", 0)) == {0}
            and weight.shape[0] <= weight.shape[1]
        )
        if not movable:
            continue
        with module.graph.inserting_before(upsampled):
            before = module.graph.call_function(conv.target, (upsampled.args[0], *conv.args[1:]), conv.kwargs)
        conv.replace_all_uses_with(upsampled)
        upsampled.update_arg(0, before)
        module.graph.erase_node(conv)
        count += 1
    return count


def _subpixel(module: fx.GraphModule, fits: Callable[[Sequence[object], Sequence[object]], bool]) -> int:
    """Turn nearest upsampling by two and a 3x3 convolution into one transposed convolution of the small map.

    Of four output pixels each sees the same two by two pixels of the small map, so that 4x4 kernels of stride 2 do
    with 4/9 of the multiplications (8/27 in 3-D), and the large map is never made. A skip connection that is
    concatenated is convolved by itself and added (Shi et al., "Real-time single image and video super-resolution
    using an efficient sub-pixel convolutional neural network", CVPR 2016).
    """
    count = 0
    for upsampled in _calls(module, set(NEAREST)):
        ndim = NEAREST[upsampled.target]
        users = list(upsampled.users)
        joined = users[0] if len(users) == 1 and users[0].target is aten.cat.default else None
        conv = (list(joined.users) if joined is not None and len(joined.users) == 1 else users)[0]
        if len(users) != 1 or CONVOLUTIONS.get(conv.target) != ndim or (joined is not None and _axis(joined) != 1):
            continue
        weight, bias = _weights(module, conv)
        small = upsampled.args[0]
        if (
            weight is None
            or tuple(weight.shape[2:]) != (3,) * ndim
            or not _keeps_size(conv, weight)
            or _argument(conv, "groups", 1) != 1
            or not fits(_shape(upsampled)[2:], _shape(small)[2:])
        ):
            continue
        parts = list(joined.args[0]) if joined is not None else [upsampled]
        if parts.count(upsampled) != 1:
            continue
        widths = [_shape(part)[1] for part in parts]
        position = parts.index(upsampled)
        slices = list(weight.split(widths, dim=1))
        kernel = slices.pop(position)
        del parts[position]
        for axis in range(2, 2 + ndim):
            first, middle, last = kernel.unbind(axis)
            kernel = torch.stack([last, middle + last, first + middle, first], axis)
        with module.graph.inserting_before(conv):
            enlarged = module.graph.call_function(
                TRANSPOSE_OF[ndim],
                (
                    small,
                    _new_weight(module, kernel.transpose(0, 1).contiguous()),
                    None if bias is None else _new_weight(module, bias),
                    [2] * ndim,
                    [1] * ndim,
                ),
            )
            enlarged.meta = dict(conv.meta)
            result = enlarged
            if parts:
                skips = parts[0] if len(parts) == 1 else module.graph.call_function(aten.cat.default, (parts, 1))
                skip_weight = _new_weight(module, torch.cat(slices, 1).contiguous())
                convolved = module.graph.call_function(conv.target, (skips, skip_weight, None, [1] * ndim, [1] * ndim))
                convolved.meta = dict(conv.meta)
                result = module.graph.call_function(aten.add.Tensor, (enlarged, convolved))
                result.meta = dict(conv.meta)
        conv.replace_all_uses_with(result)
        for node in (conv, joined, upsampled):
            if node is not None:
                module.graph.erase_node(node)
        count += 1
    return count


def _calls(module: fx.GraphModule, targets: set[object]) -> Iterator[Node]:
    return iter([node for node in module.graph.nodes if node.op == "call_function" and node.target in targets])


def _is_node(argument: object) -> bool:
    return isinstance(argument, fx.Node)


def _is_convolution(node: Node) -> bool:
    return _is_node(node) and (node.target in CONVOLUTIONS or node.target in TRANSPOSED)


def _value(module: fx.GraphModule, argument: Node) -> Tensor | None:
    """The parameter or buffer that an argument names."""
    if not _is_node(argument) or argument.op != "get_attr":
        return None
    value = operator.attrgetter(str(argument.target))(module)
    return value.detach() if isinstance(value, Tensor) else None


def _weights(module: fx.GraphModule, conv: Node) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias of a convolution; no weight where one of them is computed."""
    bias = conv.args[2] if len(conv.args) > 2 else conv.kwargs.get("bias")
    values = _value(module, conv.args[1]), _value(module, bias)
    return (None, None) if bias is not None and values[1] is None else values


def _set_weights(module: fx.GraphModule, conv: Node, weight: Tensor, bias: Tensor | None) -> None:
    with module.graph.inserting_before(conv):
        new = (_new_weight(module, weight), None if bias is None else _new_weight(module, bias))
    conv.args = (conv.args[0], *new, *conv.args[3:])
    conv.kwargs = {key: value for key, value in conv.kwargs.items() if key != "bias"}


def _new_weight(module: fx.GraphModule, value: Tensor) -> Node:
    name = f"rewritten_{sum(1 for _ in module.parameters(recurse=False))}"
    module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return module.graph.get_attr(name)


_POSITIONS = {"stride": 3, "padding": 4}


def _argument(conv: Node, name: str, default: int) -> object:
    schema = [argument.name for argument in conv.target._schema.arguments]
    at = schema.index(name)
    return conv.args[at] if len(conv.args) > at else conv.kwargs.get(name, default)


def _per_axis(conv: Node, name: str, default: int) -> tuple[int, ...]:
    ndim = {**CONVOLUTIONS, **TRANSPOSED}[conv.target]
    value = _argument(conv, name, default)
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * ndim if len(values) == 1 else values


def _keeps_size(conv: Node, weight: Tensor) -> bool:
    padding = tuple(length // 2 for length in weight.shape[2:])
    return (
        all(length % 2 for length in weight.shape[2:])
        and set(_per_axis(conv, "stride", 1)) == {1}
        and set(_per_axis(conv, "dilation", 1)) == {1}
        and _per_axis(conv, "padding", 0) == padding
    )


def _axis(joined: Node) -> object:
    return joined.args[1] if len(joined.args) > 1 else joined.kwargs.get("dim", 0)


def _shape(node: Node) -> Sequence[Any]:
    return node.meta["val"].shape


def _repeats(node: Node, source: Node) -> int:
    """How often `node` repeats the channels of `source`; 0 if it is not that."""
    if not _is_node(node):
        return 0
    if node.target is aten.cat.default and _axis(node) == 1 and set(node.args[0]) == {source}:
        return len(node.args[0])
    if node.target is aten.repeat.default and node.args[0] is source:
        first, channels, *rest = node.args[1]
        return channels if first == 1 and math.prod(rest) == 1 else 0
    return 0
