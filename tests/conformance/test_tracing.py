"""Messages name the module that runs and the attribute that holds on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unetzoo.analysis.operations import ModuleTrace
from unetzoo.conformance.definition.outcomes import CheckFailed, Unavailable
from unetzoo.conformance.measuring.tracing import attributes, blame, brief, listing

HELD = [torch.zeros(1)]


class Refuses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise OverflowError("no number fits")


class Remembers(nn.Module):
    kept_on_class: dict[str, int] = {}

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1))
        self.history = {"first": [torch.ones(2)]}

    def forward(self, x: Tensor, seen: list[int] = []) -> Tensor:  # noqa: B006 (the default is what is looked for)
        return self.inner(x)


def test_an_error_is_blamed_on_the_module_that_raised_it() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(Refuses()))
    with (
        pytest.raises(
            CheckFailed, match=r"^a forward raised OverflowError in module '1\.0' .*no number fits.*Try less\.$"
        ),
        blame("a forward", "Try less"),
    ):
        model(torch.zeros(1))


def test_an_outcome_of_the_suite_is_not_blamed() -> None:
    with pytest.raises(Unavailable, match="^no device$"), blame("a forward"):
        raise Unavailable("no device")


def test_the_innermost_running_module_is_known_and_forgotten_after_its_call() -> None:
    model = Remembers()
    seen: list[str] = []
    with ModuleTrace(model) as trace:
        model.inner[1].register_forward_pre_hook(lambda *_: seen.append(trace.path))
        model(torch.zeros(1, 1, 2, 2))
        assert trace.path == ""
    assert seen == ["inner.1"]
    assert not model.inner[0]._forward_hooks


def test_what_a_network_holds_is_found_on_instance_class_file_and_defaults() -> None:
    paths = dict(attributes(Remembers()))
    assert torch.equal(paths["model.history.first.0"], torch.ones(2))
    assert paths["class Remembers: kept_on_class"] is Remembers.kept_on_class
    assert any(path.startswith("defaults of Remembers.forward") for path in paths)
    assert any(value is HELD[0] for value in paths.values())


def test_long_texts_and_lists_are_shortened() -> None:
    assert brief("a\n  b") == "a b"
    assert brief("x" * 50, 10) == "xxxxxxx..."
    assert listing(["a", "b"], 2) == "a, b"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
