"""`create` with random arguments ends in a network that runs or in an error of ours, and in nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import unetzoo
from unetzoo import registry
from unetzoo.components.binding import Signature
from unetzoo.components.kinds import KINDS
from unetzoo.components.spec import named
from unetzoo.config.resolving import resolve
from unetzoo.errors import CheckpointError, ConfigError, UnetzooError
from unetzoo.nn.activation import ACTIVATIONS
from unetzoo.nn.excitation import EXCITATIONS
from unetzoo.nn.merging import MERGES
from unetzoo.nn.normalization import NORMS
from unetzoo.nn.resampling import DOWNSAMPLERS, UPSAMPLERS

PHASES = (Phase.generate, Phase.shrink)
MODELS = [
    "unet",
    "unetpp",
    "resunet",
    "fcn8s",
    "linknext",
    "attention_unet",
    "multiresunet",
    "unet3p",
    "enet",
    "swin_unet",
]
# Small numbers build in milliseconds, and huge ones cannot be allocated; those between would only take long.
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 5, 8, 16, 10**9, 10**30, True])
ODD = st.sampled_from(
    [None, "", "nope", 0.5, -1.0, 2.0, float("nan"), float("inf"), b"x", object(), print, {}, [], {3: 4}]
)
NAMES = st.sampled_from(
    ["batch", "group", "instance", "relu", "prelu", "conv", "residual", "unet", "identity", "timm/resnet10t", "nope"]
)
LEAVES = NUMBERS | ODD | NAMES | st.lists(st.sampled_from([-1, 0, 1, 2, 4, 8]), max_size=5)
KEYS = st.sampled_from([
    "name", "channels", "block", "norm", "activation", "dropout", "depth", "factors", "kernel_size", "stride", "skip",
    "up", "eps", "num_groups", "num_parameters", "act_layer", "bias", "groups", "deep_supervision", "merge", "x", 3, "",
])  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["encoder", "center", "decoder", "head", "block", "init", "deep_supervision", "card",
                     "capabilities", "preprocessing", "classes", "layouts", "provenance", "in_2d", "model",
                     "extends"]),
    VALUES, max_size=3,
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "num_classes": NUMBERS | ODD,
        "in_channels": NUMBERS | ODD,
        "ndim": st.sampled_from([2, 3, 4, "2", None]),
        "checkpoint": LEAVES,
    },
)
REFERENCES = st.sampled_from(MODELS) | LEAVES | st.dictionaries(KEYS, VALUES, max_size=3) | ARGUMENTS


def channels(reference: Any, arguments: dict[str, Any], tiny: bool) -> tuple[int, int] | None:
    """Build and run; return the channels of the result and the number of classes, or None for an error of ours."""
    try:
        model = unetzoo.create(reference, tiny=tiny, **arguments)
    except UnetzooError:
        return None
    step = max(model.min_size) if isinstance(model.min_size, tuple) else model.min_size
    with torch.no_grad():
        result = model(torch.zeros(2, model.in_channels, *[max(64, 2 * step)] * model.ndim))
    first = result[0] if isinstance(result, list) else result
    return first.shape[1], model.num_classes


SMALL = st.integers(-1, 9)
FLOATS = st.sampled_from([-1.0, 0.0, 1e-5, 0.2, 1.0, 2.0])
TABLES = (NORMS, ACTIVATIONS, MERGES, DOWNSAMPLERS, UPSAMPLERS, EXCITATIONS)
SPECS = st.sampled_from([*(name for table in TABLES for name in table.entries), *registry.names("block"), "pad"])
# A value of each type, so that most get past the types and reach what builds.
TYPED = st.fixed_dictionaries(
    {
        "bool": st.booleans(),
        "Sequence": st.lists(SMALL | st.sampled_from([16, 64]), max_size=6),
        "int": SMALL,
        "float": FLOATS,
        "Literal": SPECS,
        "": SPECS | st.builds(lambda name, key, value: {"name": name, key: value}, SPECS, KEYS, SMALL | FLOATS | SPECS),
    }
)
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 10**6), TYPED | st.fixed_dictionaries({"": VALUES})), min_size=1, max_size=2
)


def mutated(name: str, mutations: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """Arguments that set options which the model's own parts take, most to values of their types."""
    data = resolve(name).data
    options = [(("block",), ""), (("init",), "")]
    for kind in KINDS:
        part = named(data.get(kind))
        if part:
            taken = Signature.of(registry.get(kind, part["name"])).fields.items()
            options += [((kind, key), str(hint)) for key, (hint, _) in taken if key not in KINDS[kind].given]
    arguments: dict[str, Any] = {}
    for index, values in mutations:
        (*outer, last), hint = options[index % len(options)]
        fitting = [value for word, value in values.items() if word in hint]
        value = fitting[index // len(options) % len(fitting)]
        if not outer:
            arguments[last] = value
        elif isinstance(inner := arguments.setdefault(outer[0], {}), dict):
            inner[last] = value
    return arguments


def bounded(examples: int, number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    limits = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES
    )
    return lambda test: seed(number)(limits(test))


@bounded(100, 19)
@given(REFERENCES, ARGUMENTS, FIELDS, st.booleans())
def test_create_gives_a_network_that_runs_or_an_error_of_ours(
    reference: Any, parts: dict[str, Any], fields: dict[str, Any], tiny: bool
) -> None:
    found = channels(reference, {**parts, **fields}, tiny)
    assert found is None or found[0] == found[1]


@bounded(100, 20)
@given(st.sampled_from(MODELS), MUTATIONS)
def test_any_value_of_any_option_gives_a_network_that_runs_or_an_error_of_ours(
    name: str, mutations: list[tuple[int, dict[str, Any]]]
) -> None:
    found = channels(name, mutated(name, mutations), True)
    assert found is None or found[0] == found[1]


@pytest.mark.slow
@bounded(2000, 21)
@given(st.sampled_from(MODELS), MUTATIONS, FIELDS)
def test_create_holds_over_many_random_options(
    name: str, mutations: list[tuple[int, dict[str, Any]]], fields: dict[str, Any]
) -> None:
    found = channels(name, {**mutated(name, mutations), **fields}, True)
    assert found is None or found[0] == found[1]


def nested(depth: int) -> dict[str, Any]:
    return {"x": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"encoder": {"channels": [4]}}, "does not run"),
        ({"block": {"dilation": 0}}, "dilation 0: expected numbers from 1"),
        ({"encoder": {"name": "timm/resnet18", "act_layer": "nope"}}, "act_layer='nope'"),
        ({"block": {"dropout": 2.0}}, "between 0 and 1"),
        ({"block": {"activation": {"name": "prelu", "num_parameters": 7}}}, "one slope per channel"),
        ({"block": {"norm": {"name": "batch", "eps": -1}}}, "expected a number above 0"),
        ({"num_classes": 10**30}, "expected a number of at most"),
        ({"in_channels": 10**30}, "expected a number of at most"),
        ({"encoder": {3: 4}}, "expected text as a key"),
        ({"encoder": nested(400)}, "nested more than"),
        ({"encoder": {"channels": [10**7] * 4}}, "cannot be built with channels"),
    ],
)
def test_options_that_build_nothing_are_refused_with_the_reason(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        unetzoo.create("unet", **arguments)


def test_parts_that_do_not_fit_each_other_are_refused_when_they_are_built() -> None:
    with pytest.raises(ConfigError, match="does not run on an image of 64 x 64"):
        unetzoo.create("fcn8s", encoder="timm/resnet18")


def test_a_mapping_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["encoder"] = endless
    with pytest.raises(ConfigError, match="nested more than"):
        unetzoo.create(endless)


@pytest.mark.parametrize("checkpoint", [3, b"x", "nul\0byte", "long" * 2000, ["a"]])
def test_a_checkpoint_that_is_no_path_is_refused(checkpoint: Any) -> None:
    with pytest.raises(CheckpointError, match="neither a file nor a checkpoint of 'unet'"):
        unetzoo.create("unet", tiny=True, checkpoint=checkpoint)


def test_trying_a_network_leaves_weights_statistics_and_random_numbers_as_they_are() -> None:
    state = torch.get_rng_state()
    plain = unetzoo.create("unet", tiny=True)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    tried = unetzoo.create("unet", tiny=True, in_channels=3)
    assert torch.equal(torch.get_rng_state(), after)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), tried.state_dict().values(), strict=True))
