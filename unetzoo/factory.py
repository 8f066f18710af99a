"""From a name, a file or a mapping to a model: reads the config, checks every option, builds the parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from unetzoo import registry
from unetzoo.capabilities import NAMES, Capabilities
from unetzoo.card import ModelCard
from unetzoo.checkpoints.loading import load_published
from unetzoo.components.binding import Bound, accepts, bind, is_block_option
from unetzoo.components.kinds import IN_CONFIG, KINDS, PARTS
from unetzoo.components.mistakes import KeyPath, Mistake
from unetzoo.components.parts import Validating
from unetzoo.components.spec import merge, named, split
from unetzoo.config.merging import Draft
from unetzoo.config.resolving import Reference, home_of, resolve, validate
from unetzoo.config.schema import ModelConfig
from unetzoo.errors import ConfigError, PluginError, UnknownNameError
from unetzoo.network import DenseModel, Network
from unetzoo.nn import dims
from unetzoo.nn.initialization import Initializer, make_initializer
from unetzoo.nn.normalization import min_positions
from unetzoo.nn.typing import Size
from unetzoo.verifying import OWN, verify_block, verify_network, verify_part

Part = str | Mapping[str, object] | None
REPLACEABLE = (*PARTS, "block")


def create(
    name: Reference,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    ndim: int | None = None,
    pretrained: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    tiny: bool = False,
    encoder: Part | nn.Module = None,
    center: Part = None,
    decoder: Part = None,
    head: Part = None,
    **overrides: object,
) -> DenseModel:
    """Build a model.

    Args:
        name: a registered name (`"unet"`, `"dist:unet"`, `"smp/unet"`), the path of a YAML file, a mapping, or a
            `ModelConfig`.
        num_classes: channels of the logits; default: the config's, or 1.
        in_channels: channels of the input; default: the config's, or 3.
        ndim: 2 or 3; default: the config's.
        pretrained: load the encoder's published weights, its first convolution adapted to other than three input
            channels; or, where the encoder has none, the first checkpoint of the whole network on the card.
        checkpoint: weights of the whole model: a file, or the name of one of the card's checkpoints ("official": the
            first, where none has that name).
        tiny: build the small variant that the config describes for tests, of the same layers with few channels.
        encoder: name, or mapping of name and options, that replaces or changes the config's encoder; or a built module
            that has `channels` and `strides`, which a saved config cannot name.
        center: the same for the center.
        decoder: the same for the decoder.
        head: the same for the head.
        **overrides: further keys of the config (`block`, `init`, `deep_supervision`), or options of a `model`
            component.

    Returns:
        The model in training mode: float (N, in_channels, *spatial) to logits (N, num_classes, *spatial).

    Raises:
        UnknownNameError: nothing is registered under a name; the message offers the nearest spellings.
        ConfigError: every mistake in the config and the options, with file, line and key.
        PluginError: the plugin that holds the name cannot be imported or breaks the interface of its kind, or several
            hold the name.
        CheckpointError: the checkpoint does not fit.
    """
    built = (
        Bound(f"<{type(encoder).__name__}>", _Given(encoder), {}, "the call")
        if isinstance(encoder, nn.Module)
        else None
    )
    encoder = built.name if built else encoder
    parts = {"encoder": encoder, "center": center, "decoder": decoder, "head": head}
    fields = {"num_classes": num_classes, "in_channels": in_channels, "ndim": ndim}
    changes = {key: value for key, value in {**parts, **fields}.items() if value is not None} | overrides
    draft = resolve(name)
    draft = draft.for_ndim(draft.data.get("ndim", 2) if ndim is None else ndim)
    described = draft.tiny() if tiny else draft
    asked = _place(described, changes)
    draft = described.override(asked, "create()")
    return _assemble(draft, described, built=built, pretrained=pretrained, checkpoint=checkpoint, asked=asked)


def _place(draft: Draft, changes: dict[str, object]) -> dict[str, object]:
    """Give a `model` component every option that is not a field of the config itself."""
    if "model" not in draft.data:
        return changes
    shared = set(ModelConfig.model_fields) - {*REPLACEABLE, "model", "extends"}
    own = {key: value for key, value in changes.items() if key in shared}
    return {**own, "model": {key: value for key, value in changes.items() if key not in shared}}


def _assemble(
    draft: Draft,
    described: Draft,
    *,
    built: Bound | None,
    pretrained: bool,
    checkpoint: str | os.PathLike[str] | None,
    asked: Mapping[str, object],
) -> DenseModel:
    """Build the model of a draft; `described` is the one that card and capabilities speak of, before any overrides."""
    config, mistakes = validate(draft)
    bound, unbound = _bind_parts(draft, {} if built is None else {"encoder": built})
    mistakes += [mistake for mistake in unbound if not any(mistake.path[: len(m.path)] == m.path for m in mistakes)]
    if config is None or mistakes:
        raise draft.fail(mistakes)
    _validate_parts(bound, asked, pretrained=pretrained)
    if config.ndim not in config.capabilities.dimensions:
        offered = " or ".join(map(str, config.capabilities.dimensions))
        raise ConfigError(f"{draft.name!r} cannot be created with ndim={config.ndim}; expected {offered}")
    changed = _differ(config, validate(described)[0])
    given = {"in_channels": config.in_channels, "num_classes": config.num_classes, "ndim": config.ndim}
    initialize = _read_initialization(draft, config)
    if pretrained and _is_published_whole(config, bound, changed):
        pretrained, checkpoint = False, checkpoint or "official"
    if "model" in bound:
        model = _build_model(bound["model"], given, pretrained=pretrained)
    else:
        model = _build_network(bound, given, min_size=_stated_min_size(config, changed), pretrained=pretrained)
    if initialize is not None:
        model.initialize = initialize
        for name, part in model.named_children():
            if not (pretrained and name == "encoder"):
                initialize(part)
    model.capabilities = _capabilities(config, model)
    model.card = _card(config, changed, model.capabilities)
    model.config = config.model_copy(update={"card": model.card, "capabilities": model.capabilities})
    model.preprocessing = config.preprocessing or model.preprocessing or getattr(model.encoder, "preprocessing", None)
    model.provenance = config.provenance or model.provenance or getattr(model.encoder, "provenance", None)
    known = config.classes or model.classes
    model.classes = known if known is not None and known.fit(model.num_classes) else None
    # The zoo's own networks are tried by its tests; what was changed, or comes from elsewhere, is tried here.
    if config.card.source != OWN or set(asked) - {"num_classes", "ndim"}:
        verify_network(draft.name, model)
    if checkpoint is not None:
        load_published(model, checkpoint)
    return model


def _differ(config: ModelConfig, described: ModelConfig | None) -> bool:
    """Whether overrides changed the network that the card describes."""
    return described is not None and any(getattr(config, key) != getattr(described, key) for key in IN_CONFIG)


def _stated_min_size(config: ModelConfig, changed: bool) -> Size | None:
    """The smallest size that the config states, where that still holds."""
    stated = config.capabilities
    # What unpadded convolutions need does not follow from the strides.
    holds = "min_size" in stated.declared and (not changed or any(stated.margin))
    return dims.collapse(stated.of_ndim(config.ndim).min_size) if holds else None


def _is_published_whole(config: ModelConfig, bound: Mapping[str, Bound], changed: bool) -> bool:
    """Whether the published weights are those of the whole network, and it is still that network."""
    part = bound["model"] if "model" in bound else bound["encoder"]
    return not changed and bool(config.card.checkpoints) and not accepts(part.component, "pretrained")


def _read_initialization(draft: Draft, config: ModelConfig) -> Initializer | None:
    try:
        return make_initializer(config.init) if config.init is not None else None
    except ConfigError as error:
        raise draft.fail([Mistake(("init",), str(error))]) from error


def _validate_parts(bound: Mapping[str, Bound], asked: Mapping[str, object], *, pretrained: bool) -> None:
    """Let each component look at what the call asks of it."""
    for kind, part in bound.items():
        component = getattr(part.component, "func", part.component)
        if isinstance(component, Validating):
            _, options = split(asked.get(kind, {}))
            component.validate(options, pretrained=pretrained)


def _build_model(bound: Bound, given: dict[str, int], *, pretrained: bool) -> DenseModel:
    offered = {key: value for key, value in given.items() if accepts(bound.component, key)}
    if accepts(bound.component, "pretrained"):
        offered["pretrained"] = pretrained
    elif pretrained:
        raise ConfigError(f"{bound.name!r} has no pretrained weights; create it with pretrained=False")
    model = bound(**offered)
    if not isinstance(model, DenseModel):
        raise PluginError(
            f"the model {bound.name!r} is a {type(model).__name__}; expected a subclass of unetzoo.DenseModel, "
            "which gives it the methods and the input checks that every model has"
        )
    return model


def _build_network(
    bound: dict[str, Bound], given: dict[str, int], *, min_size: Size | None, pretrained: bool
) -> Network:
    ndim = given["ndim"]
    weights = {}
    if accepts(bound["encoder"].component, "pretrained"):
        weights["pretrained"] = pretrained
    elif pretrained:
        raise ConfigError(
            f"encoder {bound['encoder'].name!r} has no pretrained weights; choose one that has, such as "
            "encoder='timm/resnet34', or create the model with pretrained=False"
        )
    encoder = bound["encoder"](given["in_channels"], ndim=ndim, **weights)
    verify_part("encoder", bound["encoder"], encoder, in_channels=given["in_channels"], ndim=ndim)
    center = bound["center"](encoder.channels[-1], ndim=ndim)
    verify_part("center", bound["center"], center, encoder, ndim=ndim)
    decoder = bound["decoder"](encoder.channels, encoder.strides, ndim=ndim)
    verify_part("decoder", bound["decoder"], decoder, encoder, ndim=ndim)
    positions = max(min_positions(part) for part in (encoder, center, decoder))
    model = Network(
        encoder,
        center,
        decoder,
        partial(bound["head"], decoder.channels, decoder.strides, ndim=ndim),
        min_size=min_size or dims.multiply(dims.coarsest(encoder.strides, ndim), positions, ndim),
        **given,
    )
    verify_part("head", bound["head"], model.head, decoder, num_classes=given["num_classes"], ndim=ndim)
    return model


def _card(config: ModelConfig, changed: bool, capabilities: Capabilities) -> ModelCard:
    """Return the card of what was built: a changed network is no longer the published one."""
    updates: dict[str, object] = {"parts": config.parts, "capabilities": capabilities}
    if changed:
        updates |= {"sizes": None, "checkpoints": {}}
    return config.card.model_copy(update=updates)


def _capabilities(config: ModelConfig, model: DenseModel) -> Capabilities:
    """Return what the config declares, as it holds for what was built: names that are there, and its smallest size."""
    present = {name for name, _ in (*model.named_parameters(), *model.named_modules())}
    declared = config.capabilities
    named = {key: tuple(n for n in getattr(declared, key) if n in present) for key in NAMES if key in declared.declared}
    return declared.declare({**named, "min_size": dims.per_axis(model.min_size, model.ndim), "ndim": model.ndim})


def part_builders(config: ModelConfig) -> dict[str, Callable[..., Any]]:
    """Return a function for each part that a config names, which builds the part with the config's options."""
    data = config.model_dump(mode="json", exclude_defaults=True)
    draft = Draft(config.card.name or "a ModelConfig", data)
    bound, mistakes = _bind_parts(draft)
    if mistakes:
        raise draft.fail(mistakes)
    return dict(bound)


class _Given:
    """A part that the caller built: taken as it is."""

    def __init__(self, part: nn.Module) -> None:
        self.part = part

    def __call__(self, in_channels: int, *, ndim: int) -> nn.Module:
        return self.part


def _bind_parts(draft: Draft, built: Mapping[str, Bound] | None = None) -> tuple[dict[str, Bound], list[Mistake]]:
    """Resolve every component that the data names, and check all options, whatever else is wrong."""
    data, home = draft.data, partial(home_of, draft)
    bound = dict(built or {})
    mistakes: list[Mistake] = []
    kinds = ("model",) if "model" in data else PARTS
    block = named(data.get("block")) if data.get("block") else {}
    for kind in kinds:
        part = named(data.get(kind) or ("identity" if kind == "center" else None))
        if kind in bound or not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            continue
        if data.get("deep_supervision") is True and kind in ("head", "model"):
            part = {**part, "deep_supervision": True}
        one, wrong = _bind(kind, part, (kind,), block if isinstance(block, Mapping) else {}, home)
        mistakes += wrong
        if one is not None:
            bound[kind] = one
    return bound, mistakes


def _bind(
    kind: str, part: Mapping[str, Any], path: KeyPath, block: Mapping[str, Any], home: Callable[[KeyPath], str]
) -> tuple[Bound | None, list[Mistake]]:
    name, options = split(part)
    if not isinstance(name, str):
        return None, [Mistake((*path, "name"), f"expected the name of a {kind}, got {name!r}")]
    try:
        entry = registry.find(kind, name, component=True, home=home((*path, "name")))
    except UnknownNameError as error:
        return None, [Mistake((*path, "name"), str(error))]
    component = entry.load()
    if block and "block" not in options and accepts(component, "block"):
        options["block"] = block
    mistakes: list[Mistake] = []
    for key in [key for key in options if isinstance(key, str) and is_block_option(key) and accepts(component, key)]:
        own = named(options[key])
        if not isinstance(own, Mapping):
            mistakes.append(Mistake((*path, key), f"expected the name of a block, or a mapping, got {own!r}"))
            continue
        merged = merge({key: block}, {key: own})[key] if block else dict(own)
        inner, wrong = _bind("block", merged, (*path, key), {}, home)
        mistakes += wrong
        if inner is not None:
            options[key] = verify_block(inner)
    bound, wrong = bind(component, options, name=name, given=_given(kind, name, component), source=entry.source)
    return bound, mistakes + [Mistake((*path, *mistake.path), mistake.message) for mistake in wrong]


def _given(kind: str, name: str, component: Callable[..., Any]) -> tuple[str, ...]:
    """What the builder supplies, and what a provider has set for the name that was asked for."""
    return (*KINDS[kind].given, *(getattr(component, "keywords", {}) if "/" in name else ()))
