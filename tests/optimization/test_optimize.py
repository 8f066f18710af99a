"""`optimize` keeps the function at every size, and the fastest backend that is accurate."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import unetzoo
from unetzoo import ConfigError, InputError, OptimizationReport, UnknownNameError, optimize
from unetzoo.optimization.backend import BuildOptions, Run
from unetzoo.optimization.backends.eager import EagerBackend


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def model() -> unetzoo.DenseModel:
    return unetzoo.create("unet", tiny=True, num_classes=3).eval()


@pytest.fixture
def example() -> Tensor:
    return torch.rand(1, 3, 64, 64)


@pytest.fixture
def third_party() -> Iterator[type[EagerBackend]]:
    """A backend of another distribution; its class decides what it does."""

    class Backend(EagerBackend):
        pass

    unetzoo.register("backend", "acme", Backend)
    yield Backend
    unetzoo.unregister("backend", "acme")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("unet", "eager"),
        ("unet", "openvino"),
        ("unet", "onnxruntime"),
        *(
            pytest.param(name, backend, marks=pytest.mark.slow)
            for name in ("linknet34", "u2netp")
            for backend in ("eager", "openvino", "onnxruntime")
        ),
    ],
)
def test_images_of_every_size_are_as_the_model_has_them(name: str, backend: str) -> None:
    model = unetzoo.create(name, tiny=True, num_classes=3).eval()
    optimized = optimize(model, torch.rand(1, 3, 64, 64), backend=backend)
    assert optimized.report.chosen == backend
    # On the grid of the example, off it, and off it by another remainder.
    for batch, *size in ((1, 64, 64), (2, 96, 64), (1, 70, 90), (2, 65, 67), (1, 102, 122)):
        x = torch.rand(batch, 3, *size)
        with torch.no_grad():
            assert relative(optimized(x), model(x)) < 1e-4


def test_sub_pixel_convolutions_are_not_used_for_sizes_that_they_do_not_fit() -> None:
    model = unetzoo.create("smp/unet", num_classes=3).eval()
    optimized = optimize(model, torch.rand(1, 3, 64, 64), backend="eager")
    assert optimized.report.rewrites["sub-pixel convolutions"] == 5
    for size in ((70, 90), (129, 131)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert relative(optimized(x), model(x)) < 1e-4


def test_volumes_are_optimized() -> None:
    model = unetzoo.create("vnet", tiny=True).eval()
    x = torch.rand(1, model.in_channels, 32, 32, 32)
    with torch.no_grad():
        assert relative(optimize(model, x, backend="eager")(x), model(x)) < 1e-4


def test_auto_measures_what_is_installed_and_says_why_others_are_out(
    model: unetzoo.DenseModel, example: Tensor
) -> None:
    report = optimize(model, example).report
    tried = {candidate.backend: candidate for candidate in report.candidates}
    assert set(tried) == {"original", *unetzoo.list_components("backend")}
    times = {name: candidate.seconds for name, candidate in tried.items() if candidate.seconds is not None}
    assert report.chosen == min(times, key=lambda name: times[name])
    assert "original" in times
    assert "ask for it by name" in tried["inductor"].problem
    assert "not on cpu" in tried["tensorrt"].problem
    assert OptimizationReport.from_json(report.to_json()) == report
    assert report.chosen in str(report)


def test_the_choice_of_a_report_is_taken_without_measuring(
    model: unetzoo.DenseModel, example: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = optimize(model, example, backend="eager")
    monkeypatch.setattr("unetzoo.optimization.choosing.measure", lambda *_: pytest.fail("measured again"))
    again = optimize(model, example, report=OptimizationReport.from_json(first.report.to_json()))
    assert again.report == first.report
    torch.testing.assert_close(again(example), first(example))


def test_an_optimized_model_is_pickled(model: unetzoo.DenseModel, example: Tensor) -> None:
    optimized = optimize(model, example, backend="eager")
    torch.testing.assert_close(pickle.loads(pickle.dumps(optimized))(example), optimized(example))


def test_the_original_stays_as_it_is(example: Tensor) -> None:
    model = unetzoo.create("unet", tiny=True, num_classes=3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimized = optimize(model, example)
    optimized(example)
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(ConfigError, match="for inference"):
        optimized.train()


def test_a_backend_that_fails_is_reported_and_the_next_best_taken(
    model: unetzoo.DenseModel, example: Tensor, third_party: type[EagerBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(self: object, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(third_party, "build", build)
    report = optimize(model, example).report
    assert report.chosen != "acme"
    assert "RuntimeError: no kernel for this" in str(report)
    with pytest.raises(ConfigError, match=r"backend 'acme' cannot run Network: RuntimeError: no kernel"):
        optimize(model, example, backend="acme")


@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_a_backend_that_is_not_accurate_is_not_taken(
    model: unetzoo.DenseModel,
    example: Tensor,
    third_party: type[EagerBackend],
    monkeypatch: pytest.MonkeyPatch,
    error: float,
) -> None:
    def build(self: object, module: nn.Module, example: Tensor, options: BuildOptions) -> Run:
        return lambda x: module(x).detach() * (1 + error)

    monkeypatch.setattr(third_party, "build", build)
    with pytest.raises(ConfigError, match="less accurate than allowed"):
        optimize(model, example, backend="acme")
    if error == error:
        assert optimize(model, example, backend="acme", tolerance=1e-2).report.chosen == "acme"


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"backend": "openvno"}, UnknownNameError, "did you mean 'openvino'"),
        ({"backend": "tensorrt"}, ConfigError, "runs on cuda, not on cpu"),
        ({"backend": "onnxruntime", "dtype": "bfloat16"}, ConfigError, "has no bfloat16"),
        ({"dtype": "int8"}, ConfigError, "needs calibration"),
        ({"dtype": "float8"}, ConfigError, "dtype is 'float8'; expected float32, bfloat16, float16 or int8"),
        ({"example": torch.rand(1, 4, 64, 64)}, InputError, "4 channels"),
        ({"example": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)}, InputError, "expected a float tensor"),
        ({"example": [1.0]}, InputError, "example is list"),
    ],
)
def test_what_cannot_be_done_is_refused(
    model: unetzoo.DenseModel, options: dict[str, object], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        optimize(model, **options)  # type: ignore[arg-type]
