"""The runner: what is reported, what is expected to fail, what blocks what, and what a crash costs."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from tests.conformance.controls import ValidConvolutions, plain, three_dimensional
from tests.conformance.networks import SmallUNet
from tests.conformance.planted.hygiene import BrokenRepr
from tests.conformance.planted.initialization import SaturatedGate
from tests.conformance.planted.optional import WrongStrides
from tests.conformance.planted.output import MissingLayer
from unetzoo.conformance import ConformanceError, all_checks, check_model
from unetzoo.conformance.definition.outcomes import agree
from unetzoo.conformance.measuring.probing import probe
from unetzoo.conformance.measuring.sandbox import GlobalState
from unetzoo.conformance.runner import isolation
from unetzoo.conformance.runner.subject import Created
from unetzoo.errors import ConfigError

QUICK = ["check_create_signature", "check_forward_runs", "check_repr", "check_pickle"]


DANGEROUS = """
import os, time, torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Conv2d(in_channels, num_classes, 3, padding=1))

    def forward(self, x):
        return self.harm(super().forward(x)) if x.dtype == torch.bfloat16 else super().forward(x)

class Aborts(Net):
    def harm(self, logits):
        os.abort()

class Hangs(Net):
    def harm(self, logits):
        time.sleep(10000)

class Devours(Net):
    def harm(self, logits):
        return logits + torch.ones(2**36).sum()
"""


@pytest.fixture
def dangerous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module with networks that abort, hang or devour memory when given bfloat16."""
    (tmp_path / "dangerous_nets.py").write_text(DANGEROUS)
    monkeypatch.syspath_prepend(tmp_path)
    return "dangerous_nets"


def test_an_expected_failure_is_reported_with_its_reason_and_is_no_failure() -> None:
    report = check_model(BrokenRepr, checks=QUICK, expected_failures={"check_repr": "known"})
    assert report["check_repr"].status == "expected_failure"
    assert report["check_repr"].reason == "known"
    assert report.ok


def test_an_expected_failure_that_passes_counts_as_a_failure() -> None:
    report = check_model(plain, checks=QUICK, expected_failures={"check_repr": "known"})
    assert report["check_repr"].status == "unexpected_pass"
    assert [r.check for r in report.failures] == ["check_repr"]


@pytest.mark.parametrize("argument", ["checks", "exclude"])
def test_an_unknown_check_is_an_error_that_names_the_nearest(argument: str) -> None:
    with pytest.raises(ValueError, match=r"check_reprr.*check_repr"):
        check_model(plain, **{argument: ["check_reprr"]})


def test_an_unknown_expected_failure_is_an_error() -> None:
    with pytest.raises(ValueError, match="check_gone"):
        check_model(plain, expected_failures={"check_gone": "fixed long ago"})


@pytest.mark.parametrize(
    ("device", "told"), [("cuda:99", "'cuda:99' is not there: .* sees \\d+"), ("gpu", "expected cpu")]
)
def test_a_device_that_is_not_there_is_an_error(device: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_model(plain, device=device, checks=QUICK)


def test_an_unknown_capability_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"divisr.*divisor"):
        check_model(plain, capabilities={"divisr": 4})


def test_a_failed_gate_blocks_what_requires_it_and_no_more() -> None:
    report = check_model(MissingLayer, checks=[*QUICK, "check_output_shape"])
    assert report["check_forward_runs"].status == "failed"
    assert "no_such_layer" in report["check_forward_runs"].message
    assert report["check_output_shape"].reason == "blocked by check_forward_runs"
    assert report["check_repr"].status == "passed"


class LayersInAList(nn.Module):
    """Keeps its layers in a Python list, where `.to()`, `train()` and the state dict do not find them."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class DropsInEval(SmallUNet):
    """Forgets to tell its dropout the mode."""

    def finish(self, logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(logits, 0.5)


class IgnoresEval(SmallUNet):
    """Stays in training mode, whatever is asked."""

    def train(self, mode: bool = True) -> SmallUNet:
        return super().train(True)


@pytest.mark.parametrize(
    ("build", "cause", "told"),
    [
        (LayersInAList, "check_modules_registered", r"layers\[0\] holds an unregistered module"),
        (DropsInEval, "check_eval_deterministic", "bernoulli.*Dropout|Dropout.*bernoulli"),
        (IgnoresEval, "check_mode_flags", r"after eval\(\), training=True"),
    ],
)
def test_one_cause_is_named_first_and_blocks_what_it_would_fail(
    build: Callable[..., nn.Module], cause: str, told: str
) -> None:
    report = check_model(build, exclude=[c.id for c in all_checks() if c.cost == "slow"])
    failures = [r.check for r in report.failures]
    assert failures[0] == cause
    assert re.search(told, report[cause].message)
    assert len(failures) <= 3, failures
    assert report["check_state_dict_roundtrip"].reason == f"blocked by {cause}"


def test_a_profile_chooses_the_checks() -> None:
    core = check_model(plain, profile="core")
    assert {r.check for r in core.results} == {c.id for c in all_checks() if c.core}
    assert 35 <= len(core.results) <= 45
    assert core.ok
    with pytest.raises(ConfigError, match=r"unknown profile 'fast'.*core, full, cuda"):
        check_model(plain, profile="fast")  # type: ignore[arg-type]
    assert {c.devices for c in all_checks() if "cuda" in c.profiles} == {"both", "cuda"}


def test_advice_does_not_fail_a_report() -> None:
    report = check_model(SaturatedGate, checks=["check_init_grad_scale", "check_repr"])
    assert report["check_init_grad_scale"].status == "advice"
    assert [r.check for r in report.advice] == ["check_init_grad_scale"]
    assert report.ok
    assert sorted(report.headline.split(", ")) == ["1 advice", "1 passed"]
    case = ElementTree.fromstring(report.to_junit())[0].find("testcase[@name='check_init_grad_scale']/skipped")
    assert case is not None
    assert (case.get("message") or "").startswith("advice: ")


def test_a_check_that_starts_processes_is_unavailable_in_a_daemonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    result = check_model(plain, checks=["check_ddp"])["check_ddp"]
    assert (result.status, result.reason) == (
        "skipped",
        "unavailable: needs processes, which a daemonic one may not start",
    )
    with pytest.raises(ConfigError, match=r"daemonic.*isolate=False"):
        check_model(plain, checks=QUICK, isolate=True)


def test_a_failure_names_the_module_and_the_line_it_came_from() -> None:
    message = check_model(MissingLayer, checks=["check_forward_runs"])["check_forward_runs"].message
    assert "MissingLayer" in message
    assert "output.py" in message


def test_an_excluded_check_is_reported_as_skipped() -> None:
    report = check_model(plain, checks=QUICK, exclude=["check_pickle"])
    assert (report["check_pickle"].status, report["check_pickle"].reason) == ("skipped", "excluded by the caller")


def test_on_failure_raise_runs_every_check_and_carries_the_report() -> None:
    with pytest.raises(ConformanceError, match="check_repr") as caught:
        check_model(BrokenRepr, checks=QUICK, on_failure="raise")
    assert len(caught.value.report.results) == len(QUICK)


def test_a_run_leaves_global_state_and_random_generators_alone() -> None:
    state = GlobalState.capture()
    check_model(plain, checks=["check_global_state", "check_rng_not_reseeded", "check_create_seeded"])
    assert state.changes() == []
    assert state.rng_changes() == []


def test_probing_finds_the_dimensions_and_the_smallest_size() -> None:
    capabilities = check_model(three_dimensional, checks=["check_repr"]).capabilities
    assert (capabilities.ndim, capabilities.min_size, capabilities.divisor) == (3, (2, 2, 2), (1, 1, 1))


def test_probing_finds_what_unpadded_convolutions_take_off() -> None:
    """Two 3x3 convolutions take 4 pixels; below the pooling 8; two more after it 4: 16 in all, at even sizes."""
    capabilities = check_model(ValidConvolutions, checks=["check_repr"]).capabilities
    assert capabilities.margin == (16, 16)
    assert capabilities.divisor == (2, 2)


def test_probing_measures_the_receptive_field_of_a_chain_of_convolutions() -> None:
    def chain(in_channels: int, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(in_channels, 4, 7, padding=3), nn.Conv2d(4, num_classes, 3, padding=1))

    assert check_model(chain, checks=["check_repr"]).capabilities.receptive_field == (4, 4)


def test_declared_capabilities_are_taken_as_they_are() -> None:
    capabilities = check_model(plain, checks=["check_repr"], capabilities={"min_size": 12}).capabilities
    assert capabilities.min_size == (12, 12)
    assert "min_size" in capabilities.declared


def test_a_report_is_a_table_json_junit_and_a_page(tmp_path: Path) -> None:
    report = check_model(BrokenRepr, checks=[*QUICK, "check_no_sync"])
    data = json.loads(report.to_json(tmp_path / "report.json"))
    suite = ElementTree.fromstring(report.to_junit())[0]
    page = report.to_html()
    assert "check_repr" in str(report)
    assert {r["check"]: r["status"] for r in data["results"]}["check_repr"] == "failed"
    assert json.loads((tmp_path / "report.json").read_text()) == data
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "1")
    assert suite.find("testcase[@name='check_repr']/failure") is not None
    assert "check_repr" in page
    assert "http" not in page
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_crash_costs_one_check(dangerous: str) -> None:
    report = check_model(f"{dangerous}:Aborts", checks=["check_output_dtype", "check_output_shape"], isolate=True)
    assert "SIGABRT" in report["check_output_dtype"].message
    assert report["check_output_shape"].status == "passed"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of private memory is Linux's")
def test_exhausted_memory_costs_one_check(dangerous: str) -> None:
    checks = ["check_output_dtype", "check_output_shape"]
    report = check_model(f"{dangerous}:Devours", checks=checks, isolate=True, memory_limit=8)
    assert "memory" in report["check_output_dtype"].message
    assert report["check_output_shape"].status == "passed"


def test_a_hang_is_stopped_and_the_rest_goes_on(dangerous: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = [replace(c, timeout=10.0) if c.id == "check_output_dtype" else c for c in isolation.all_checks()]
    monkeypatch.setattr(isolation, "all_checks", lambda: hurried)
    report = check_model(f"{dangerous}:Hangs", checks=["check_output_dtype", "check_output_shape"], isolate=True)
    assert "hung" in report["check_output_dtype"].message
    assert report["check_output_shape"].status == "passed"


def test_a_builder_that_cannot_be_sent_to_a_process_is_refused() -> None:
    with pytest.raises(ValueError, match="isolate=False"):
        check_model(lambda in_channels, num_classes: plain(in_channels, num_classes), isolate=True, checks=QUICK)


def test_nan_never_agrees() -> None:
    with pytest.raises(AssertionError, match="nan"):
        agree(torch.tensor([torch.nan]), torch.tensor([torch.nan]), 1.0, "the value")


def test_strides_are_held_to_how_features_grow_where_the_smallest_image_is_large() -> None:
    report = check_model(WrongStrides, checks=["check_features"], capabilities={"min_size": 64})
    assert "declared stride (4, 4)" in report["check_features"].message


class DeepVolume(nn.Module):
    """Halves a volume six times, where a small one is down to a single pixel, and normalizes there."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        widths = [in_channels, *[4] * 6]
        self.downs = nn.Sequential(
            *(
                nn.Sequential(nn.Conv3d(i, o, 3, stride=2, padding=1), nn.BatchNorm3d(o), nn.ReLU())
                for i, o in pairwise(widths)
            )
        )
        self.head = nn.Conv3d(4 + in_channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = nn.functional.interpolate(self.downs(x), x.shape[2:])
        return self.head(torch.cat([deep, x], 1))


def test_a_deep_volume_is_long_enough_for_its_last_normalization() -> None:
    report = check_model(DeepVolume, ndim=3, checks=["check_float16", "check_batch_one_train", "check_param_grads"])
    assert report.capabilities.deepest_stride == 64
    assert report.size[-1] == 128
    assert report.ok, report


class PooledVolume(nn.Module):
    """Averages over blocks of a volume, which torch cannot do on the CPU in 16 bits."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Conv3d(in_channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.avg_pool3d(self.head(x), 2, ceil_mode=True)
        return nn.functional.interpolate(pooled, x.shape[2:])


def test_a_kernel_that_torch_lacks_is_no_fault_of_the_network() -> None:
    report = check_model(PooledVolume, ndim=3, checks=["check_output_dtype", "check_float16"])
    assert report.ok, report


@pytest.mark.parametrize(("ndim", "least"), [(2, 9), (3, 7)])
def test_the_smallest_size_is_what_the_network_says_for_its_dimensions(ndim: int, least: int) -> None:
    parts = {"encoder": {"name": "conv", "channels": [4, 8]}, "decoder": "unet", "head": "conv"}
    config = {**parts, "capabilities": {"min_size": 9}, "in_3d": {"capabilities": {"min_size": 7}}}
    assert probe(Created(config, ndim), 3, 2, {"ndim": ndim}, seed=0).min_size == (least,) * ndim
