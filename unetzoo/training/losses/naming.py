"""The one place that names losses: `make_loss` builds any mixture of them from a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, JaccardLoss, LovaszLoss, TverskyLoss
from torch import nn

from unetzoo.components.binding import call
from unetzoo.errors import ConfigError, UnknownNameError, nearest
from unetzoo.training.losses.border_weights import BorderCrossEntropy
from unetzoo.training.losses.mixture import LossMixture
from unetzoo.training.losses.ms_ssim import MultiScaleSSIMLoss
from unetzoo.training.losses.pixelwise import BinaryCrossEntropy, CrossEntropy, Focal, Regression
from unetzoo.training.losses.regions import FBetaLoss, GuardedLoss
from unetzoo.training.losses.targets import Mode

LossSpec = str | Mapping[str, "float | Mapping[str, object]"]
Builder = Callable[..., nn.Module]


def _cross_entropy(
    mode: Mode,
    num_classes: int,
    ignore_index: int | None,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> nn.Module:
    return CrossEntropy(ignore_index=ignore_index, class_weights=class_weights, label_smoothing=label_smoothing)


def _bce(
    mode: Mode, num_classes: int, ignore_index: int | None, *, pos_weight: float | Sequence[float] | None = None
) -> nn.Module:
    return BinaryCrossEntropy(ignore_index=ignore_index, pos_weight=pos_weight)


def _border_cross_entropy(
    mode: Mode, num_classes: int, ignore_index: int | None, *, w0: float = 10.0, sigma: float = 5.0
) -> nn.Module:
    return BorderCrossEntropy(num_classes, ignore_index=ignore_index, w0=w0, sigma=sigma)


def _dice(
    mode: Mode, num_classes: int, ignore_index: int | None, *, smooth: float = 0.0, log_loss: bool = False
) -> nn.Module:
    return DiceLoss(mode, smooth=smooth, log_loss=log_loss, ignore_index=ignore_index)


def _jaccard(
    mode: Mode, num_classes: int, ignore_index: int | None, *, smooth: float = 0.0, log_loss: bool = False
) -> nn.Module:
    return JaccardLoss(mode, smooth=smooth, log_loss=log_loss, ignore_index=ignore_index)


def _tversky(
    mode: Mode,
    num_classes: int,
    ignore_index: int | None,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    gamma: float = 1.0,
) -> nn.Module:
    return TverskyLoss(mode, alpha=alpha, beta=beta, gamma=gamma, ignore_index=ignore_index)


def _focal(
    mode: Mode, num_classes: int, ignore_index: int | None, *, gamma: float = 2.0, alpha: float | None = None
) -> nn.Module:
    return Focal(num_classes, ignore_index=ignore_index, gamma=gamma, alpha=alpha)


def _lovasz(mode: Mode, num_classes: int, ignore_index: int | None) -> nn.Module:
    return GuardedLoss(LovaszLoss(mode, ignore_index=ignore_index), ignore_index=ignore_index)


def _f_beta(
    mode: Mode, num_classes: int, ignore_index: int | None, *, beta: float = 1.0, smooth: float = 1e-5
) -> nn.Module:
    return FBetaLoss(num_classes, ignore_index=ignore_index, beta=beta, smooth=smooth)


def _ms_ssim(mode: Mode, num_classes: int, ignore_index: int | None) -> nn.Module:
    return MultiScaleSSIMLoss(num_classes, ignore_index=ignore_index)


def _mse(mode: Mode, num_classes: int, ignore_index: int | None) -> nn.Module:
    return Regression(F.mse_loss, ignore_index=ignore_index)


def _l1(mode: Mode, num_classes: int, ignore_index: int | None) -> nn.Module:
    return Regression(F.l1_loss, ignore_index=ignore_index)


_CLASSES: tuple[Mode, ...] = ("binary", "multiclass")
_ANY_LABELS: tuple[Mode, ...] = ("binary", "multiclass", "multilabel")

_LOSSES: dict[str, tuple[Builder, tuple[Mode, ...]]] = {
    "bce": (_bce, ("binary", "multilabel")),
    "border_cross_entropy": (_border_cross_entropy, _CLASSES),
    "cross_entropy": (_cross_entropy, ("multiclass",)),
    "dice": (_dice, _ANY_LABELS),
    "f_beta": (_f_beta, _CLASSES),
    "focal": (_focal, _CLASSES),
    "jaccard": (_jaccard, _ANY_LABELS),
    "l1": (_l1, ("regression",)),
    "lovasz": (_lovasz, _CLASSES),
    "ms_ssim": (_ms_ssim, _CLASSES),
    "mse": (_mse, ("regression",)),
    "tversky": (_tversky, _ANY_LABELS),
}

_PUBLISHED: dict[str, dict[str, float]] = {
    "bce_dice": {"bce": 1, "dice": 1},  # D-LinkNet (Zhou et al. 2018)
    "bce_soft_iou": {"bce": 1, "jaccard": 1},
    "unet3plus": {"focal": 1, "ms_ssim": 1, "jaccard": 1},  # UNet 3+ (Huang et al. 2020), eq. 4
}


def list_losses() -> list[str]:
    """The names that `make_loss` knows."""
    return sorted([*_LOSSES, *_PUBLISHED])


def make_loss(
    spec: LossSpec, *, num_classes: int, ignore_index: int | None = None, mode: Mode | None = None
) -> LossMixture:
    """Builds the weighted sum of losses that `spec` names; it takes logits, never probabilities.

    >>> loss = make_loss({"dice": 1, "cross_entropy": {"weight": 0.5, "label_smoothing": 0.1}}, num_classes=22)

    Args:
        spec: one name, or name to weight, or name to a mapping of `weight` (default: 1) and the loss's own options.
            The mixtures of papers go by one name too: `bce_dice`, `bce_soft_iou`, `unet3plus`.
        num_classes: channels of the logits.
        ignore_index: target value of pixels that count nowhere.
        mode: how a target is to be read: `binary` (one channel, sigmoid) and `multiclass` (softmax) take class indices
            `(N, *spatial)`; `multilabel` (several sigmoids) and `regression` take the shape of the logits. Unless given
            it follows from `num_classes` and from the losses named.

    Raises:
        UnknownNameError: a loss of that name does not exist.
        ConfigError: the mapping is empty, a weight is no number above zero, an option is unknown, or a loss has no
            meaning in this mode.
    """
    entries = _flatten({spec: 1.0} if isinstance(spec, str) else spec)
    mode = mode or _infer_mode(list(entries), num_classes)
    losses = {}
    for name, (weight, options) in entries.items():
        build, modes = _LOSSES[name]
        if mode not in modes:
            usable = ", ".join(known for known, (_, allowed) in _LOSSES.items() if mode in allowed)
            raise ConfigError(
                f"loss {name!r} has no meaning in mode {mode!r} (num_classes={num_classes}); use {usable}"
            )
        losses[name] = (weight, call(build, options, mode, num_classes, ignore_index, name=f"loss {name!r}"))
    return LossMixture(losses, mode=mode, num_classes=num_classes, ignore_index=ignore_index)


def _flatten(spec: Mapping[str, float | Mapping[str, object]]) -> dict[str, tuple[float, dict[str, object]]]:
    if not isinstance(spec, Mapping) or not spec:
        raise ConfigError(f"loss is {spec!r}; expected a name or a mapping such as {{'dice': 1, 'cross_entropy': 1}}")
    entries: dict[str, tuple[float, dict[str, object]]] = {}
    for name, value in spec.items():
        options = dict(value) if isinstance(value, Mapping) else {}
        weight = options.pop("weight", 1.0) if isinstance(value, Mapping) else value
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight <= 0:
            raise ConfigError(f"the weight of loss {name!r} is {weight!r}; expected a number above zero")
        if name in _PUBLISHED:
            if options:
                raise ConfigError(
                    f"loss {name!r} is a mixture of {_PUBLISHED[name]} and takes no options; name its parts"
                )
            parts: dict[str, tuple[float, dict[str, object]]] = {
                part: (weight * share, {}) for part, share in _PUBLISHED[name].items()
            }
        elif name in _LOSSES:
            parts = {name: (float(weight), options)}
        else:
            raise UnknownNameError(
                f"unknown loss {name!r}{nearest(name, list_losses())}; known are {', '.join(list_losses())}"
            )
        for part in parts:
            if part in entries:
                raise ConfigError(f"loss {part!r} is named twice in {dict(spec)}, once within a mixture; name it once")
        entries |= parts
    return entries


def _infer_mode(names: list[str], num_classes: int) -> Mode:
    if all("regression" in _LOSSES[name][1] for name in names):
        return "regression"
    return "binary" if num_classes == 1 else "multiclass"
