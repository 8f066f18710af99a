"""From a name, a file or a mapping to a model: reads the config, checks every option, builds the parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from unetzoo import registry
from unetzoo.card import ModelCard
from unetzoo.checkpoints.loading import load_published
from unetzoo.config import (
    Draft,
    Mistake,
    ModelConfig,
    PartConfig,
    Reference,
    merge_options,
    named,
    parts_of,
    resolve,
    validate,
)
from unetzoo.errors import ConfigError, PluginError, UnknownNameError
from unetzoo.network import DenseModel, Network
from unetzoo.nn import dims
from unetzoo.nn.initialization import Initializer, make_initializer
from unetzoo.nn.normalization import normalizes_alone
from unetzoo.nn.typing import Size
from unetzoo.options import accepts, check_options, is_block_option

Part = str | Mapping[str, object] | None

GIVEN = {
    "model": ("in_channels", "num_classes", "ndim", "pretrained"),
    "encoder": ("in_channels", "ndim", "pretrained"),
    "center": ("channels", "ndim"),
    "decoder": ("channels", "strides", "ndim"),
    "head": ("channels", "strides", "num_classes", "ndim"),
    "block": ("in_channels", "out_channels", "ndim"),
}


@dataclass(frozen=True)
class _Plan:
    """A component with checked options, ready to be called."""

    name: str
    component: Callable[..., Any]
    options: dict[str, Any]

    def build(self, *args: object, **given: object) -> Any:
        """Call the component; a `ConfigError` from inside tells which component it was."""
        try:
            return self.component(*args, **given, **self.options)
        except ConfigError as error:
            raise ConfigError(f"{self.name!r} cannot be built: {error}") from error


def create(
    name: Reference,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    ndim: int | None = None,
    pretrained: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    encoder: Part = None,
    center: Part = None,
    decoder: Part = None,
    head: Part = None,
    **overrides: object,
) -> DenseModel:
    """Build a model.

    Args:
        name: a registered name (`"unet"`, `"dist:unet"`, `"timm/..."`-like namespaces), the path of a YAML file, a
            mapping, or a `ModelConfig`.
        num_classes: channels of the logits; 1 unless the config says otherwise.
        in_channels: channels of the input; 3 unless the config says otherwise.
        ndim: 2 or 3; the config's own unless told.
        pretrained: load the encoder's published weights, its first convolution adapted to other than three input
            channels; or, where the encoder has none, the first checkpoint of the whole network on the card.
        checkpoint: weights of the whole model: a file, or the name of one of the card's checkpoints ("official": the
            first, where none has that name).
        encoder: name, or mapping of name and options, that replaces or changes the config's encoder.
        center: the same for the center.
        decoder: the same for the decoder.
        head: the same for the head.
        **overrides: further keys of the config (`block`, `init`, `deep_supervision`), or options of a `model`
            component.

    Returns:
        The model in training mode: float (N, in_channels, *spatial) to logits (N, num_classes, *spatial).

    Raises:
        UnknownNameError: nothing is registered under a name; the nearest spellings are told.
        ConfigError: every mistake in the config and the options, with file, line and key.
        PluginError: the plugin that holds the name cannot be imported, or several hold it.
        CheckpointError: the checkpoint does not fit.
    """
    parts = {"encoder": encoder, "center": center, "decoder": decoder, "head": head}
    fields = {"num_classes": num_classes, "in_channels": in_channels, "ndim": ndim}
    changes = {key: value for key, value in {**parts, **fields}.items() if value is not None} | overrides
    if isinstance(encoder, Mapping) and encoder.get("weights") is not None and not pretrained:
        raise ConfigError(
            f"create(): encoder.weights is {encoder['weights']!r}, but without pretrained=True nothing is loaded; "
            "add it, or leave weights out"
        )
    draft = resolve(name)
    draft = draft.for_ndim(draft.data.get("ndim", 2) if ndim is None else ndim)
    draft = draft.override(_place(draft, changes), "create()")
    return _assemble(draft, pretrained=pretrained, checkpoint=checkpoint, changed=set(changes))


def _place(draft: Draft, changes: dict[str, object]) -> dict[str, object]:
    """Give a `model` component every option that is not a field of the config itself."""
    if "model" not in draft.data:
        return changes
    shared = set(ModelConfig.model_fields) - {*ModelConfig.PARTS, "block", "model", "extends"}
    own = {key: value for key, value in changes.items() if key in shared}
    return {**own, "model": {key: value for key, value in changes.items() if key not in shared}}


def _assemble(
    draft: Draft, *, pretrained: bool, checkpoint: str | os.PathLike[str] | None, changed: set[str]
) -> DenseModel:
    config, mistakes = validate(draft)
    plans, unplanned = _plan_parts(draft.data)
    mistakes += [mistake for mistake in unplanned if not any(mistake.path[: len(m.path)] == m.path for m in mistakes)]
    if config is None or mistakes:
        raise draft.fail(mistakes)
    given = {"in_channels": config.in_channels, "num_classes": config.num_classes, "ndim": config.ndim}
    initialize = _read_initialization(draft, config)
    if pretrained and _is_published_whole(config, plans, changed):
        pretrained, checkpoint = False, checkpoint or "official"
    if "model" in plans:
        model = _build_model(plans["model"], given, pretrained=pretrained)
    else:
        # What unpadded convolutions need does not follow from the strides.
        told = config.card.unpadded is not None or not changed & {"encoder", "center", "decoder", "block"}
        own_min_size = config.card.min_size if told else None
        model = _build_network(plans, given, min_size=own_min_size, pretrained=pretrained)
    if initialize is not None:
        model.initialize = initialize
        for name, part in model.named_children():
            if not (pretrained and name == "encoder"):
                initialize(part)
    model.card = _card(config, changed, model.min_size)
    model.config = _without_sources(config).model_copy(update={"card": model.card})
    model.preprocessing = config.preprocessing or model.preprocessing or getattr(model.encoder, "preprocessing", None)
    model.provenance = config.provenance or model.provenance or getattr(model.encoder, "provenance", None)
    known = config.classes or model.classes
    model.classes = known if known is not None and known.fit(model.num_classes) else None
    if checkpoint is not None:
        load_published(model, checkpoint)
    return model


def _without_sources(config: ModelConfig) -> ModelConfig:
    """Return the config without where weights were loaded from: they are there now, and are saved with the model."""
    parts = {kind: part for kind in ("model", "encoder") if (part := getattr(config, kind)) is not None}
    return config.model_copy(
        update={kind: PartConfig.model_validate(_without_weights(part.model_dump())) for kind, part in parts.items()}
    )


def _without_weights(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in options.items() if key != "weights"}
    return {key: _without_weights(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def _is_published_whole(config: ModelConfig, plans: Mapping[str, _Plan], changed: set[str]) -> bool:
    """Whether the published weights are those of the whole network, and it is still that network."""
    part = plans["model"] if "model" in plans else plans["encoder"]
    unchanged = not changed & {*ModelConfig.PARTS, "block"}
    return unchanged and bool(config.card.checkpoints) and not accepts(part.component, "pretrained")


def _read_initialization(draft: Draft, config: ModelConfig) -> Initializer | None:
    try:
        return make_initializer(config.init) if config.init is not None else None
    except ConfigError as error:
        raise draft.fail([Mistake(("init",), str(error))]) from error


def _build_model(plan: _Plan, given: dict[str, int], *, pretrained: bool) -> DenseModel:
    offered = {key: value for key, value in given.items() if accepts(plan.component, key)}
    if "ndim" not in offered and given["ndim"] not in getattr(plan.component, "about", {}).get("ndim", (2,)):
        raise ConfigError(f"{plan.name!r} cannot be created with ndim={given['ndim']}")
    if accepts(plan.component, "pretrained"):
        offered["pretrained"] = pretrained
    elif pretrained:
        raise ConfigError(f"{plan.name!r} has no pretrained weights; create it with pretrained=False")
    model = plan.build(**offered)
    if not isinstance(model, DenseModel):
        raise PluginError(
            f"the model {plan.name!r} is a {type(model).__name__}; expected a subclass of unetzoo.DenseModel, "
            "which gives it the methods and the input checks that every model has"
        )
    return model


def _build_network(
    plans: dict[str, _Plan], given: dict[str, int], *, min_size: Size | None, pretrained: bool
) -> Network:
    ndim = given["ndim"]
    weights = {}
    if accepts(plans["encoder"].component, "pretrained"):
        weights["pretrained"] = pretrained
    elif pretrained:
        raise ConfigError(
            f"encoder {plans['encoder'].name!r} has no pretrained weights; choose one that has, such as "
            "encoder='timm/resnet34', or create the model with pretrained=False"
        )
    encoder = plans["encoder"].build(given["in_channels"], ndim=ndim, **weights)
    center = plans["center"].build(encoder.channels[-1], ndim=ndim)
    decoder = plans["decoder"].build(encoder.channels, encoder.strides, ndim=ndim)
    head = plans["head"]
    # One position has no variance: where each channel of each sample is normalized alone, two are needed.
    alone = any(normalizes_alone(module) for part in (encoder, center, decoder) for module in part.modules())
    least = dims.multiply(dims.coarsest(encoder.strides, ndim), 2 if alone else 1, ndim)
    return Network(
        encoder,
        center,
        decoder,
        partial(head.component, decoder.channels, decoder.strides, ndim=ndim, **head.options),
        min_size=min_size or least,
        **given,
    )


def _card(config: ModelConfig, changed: set[str], min_size: Size) -> ModelCard:
    """Return the card of what was built: a changed network is no longer the published one."""
    updates: dict[str, object] = {"parts": parts_of(config), "min_size": min_size}
    if changed & {*ModelConfig.PARTS, "block"}:
        updates |= {"sizes": None, "checkpoints": {}}
    return config.card.model_copy(update=updates)


def part_builders(config: ModelConfig) -> dict[str, Callable[..., Any]]:
    """Return a function for each part that a config names, which builds the part with the config's options."""
    data = config.model_dump(mode="json", exclude_defaults=True)
    plans, mistakes = _plan_parts(data)
    if mistakes:
        raise Draft(config.card.name or "a ModelConfig", data).fail(mistakes)
    return {kind: plan.build for kind, plan in plans.items()}


def _plan_parts(data: Mapping[str, Any]) -> tuple[dict[str, _Plan], list[Mistake]]:
    """Resolve every component that the data names, and check all options, whatever else is wrong."""
    plans: dict[str, _Plan] = {}
    mistakes: list[Mistake] = []
    kinds = ("model",) if "model" in data else ModelConfig.PARTS
    block = named(data.get("block")) if data.get("block") else {}
    for kind in kinds:
        part = named(data.get(kind) or ("identity" if kind == "center" else None))
        if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            continue
        if data.get("deep_supervision") is True and kind in ("head", "model"):
            part = {**part, "deep_supervision": True}
        plan, wrong = _plan(kind, part, (kind,), block)
        mistakes += wrong
        if plan is not None:
            plans[kind] = plan
    return plans, mistakes


def _plan(
    kind: str, part: Mapping[str, Any], path: tuple[str, ...], block: Mapping[str, Any]
) -> tuple[_Plan | None, list[Mistake]]:
    options = dict(part)
    name = options.pop("name", None)
    if not isinstance(name, str):
        return None, [Mistake((*path, "name"), f"expected the name of a {kind}, got {name!r}")]
    try:
        component = registry.get(kind, name)
    except UnknownNameError as error:
        return None, [Mistake((*path, "name"), str(error))]
    if block and "block" not in options and accepts(component, "block"):
        options["block"] = block
    mistakes: list[Mistake] = []
    for key in [key for key in options if is_block_option(key) and accepts(component, key)]:
        own = named(options[key])
        if not isinstance(own, Mapping):
            mistakes.append(Mistake((*path, key), f"expected the name of a block, or a mapping, got {own!r}"))
            continue
        merged = merge_options(block, own) if block else dict(own)
        inner, wrong = _plan("block", merged, (*path, key), {})
        mistakes += wrong
        if inner is not None:
            options[key] = partial(inner.component, **inner.options)
    checked, wrong_options = check_options(component, options, GIVEN[kind])
    mistakes += [Mistake((*path, *option.split(".")), message) for option, message in wrong_options]
    return _Plan(name, component, checked), mistakes
