"""The third-party package of the examples: installed with pip, found by name, and working."""

from __future__ import annotations

import json
import os
import site as site_packages
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin_package"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as pip installs it."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(PACKAGE)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def python(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the package, beside everything that is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    purelib = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    folders = [str(site), sysconfig.get_path("purelib"), site_packages.getusersitepackages()]
    lines = [f"import site; site.addsitedir({path!r})" for path in folders]
    (purelib / "beside.pth").write_text("\n".join(lines) + "\n")
    return Path(sysconfig.get_path("scripts", "venv", vars={"base": str(folder)})) / "python"


def run_suite(python: Path, folder: Path, *arguments: str) -> str:
    """What `pytest --unetzoo=...` says in the package's environment, run from an empty folder."""
    command = [str(python), "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", os.devnull, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_package_holds_its_networks_to_the_contract_in_its_own_environment(python: Path, tmp_path: Path) -> None:
    chosen = "check_output_shape or check_param_grads or check_state_dict_roundtrip or check_unknown_kwargs"
    out = run_suite(python, tmp_path, "--unetzoo=ghost_flat,ghost_unet", "-k", chosen)
    assert "unetzoo::ghost_flat::check_output_shape PASSED" in out, out
    assert "unetzoo::ghost_unet::check_state_dict_roundtrip PASSED" in out, out
    assert "FAILED" not in out
    assert "10 passed" in out, out


@pytest.mark.slow
def test_the_networks_of_the_package_pass_the_whole_suite(python: Path, tmp_path: Path) -> None:
    out = run_suite(python, tmp_path, "--unetzoo=ghost_flat,ghost_unet")
    assert "FAILED" not in out, out
    assert " passed" in out, out


def run_with_plugin(site: Path, code: str) -> object:
    """Run `code` in a fresh interpreter that has the package, and return what it assigns to `result`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    script = f"import json, sys, unetzoo\n{code}\nprint(json.dumps(result))"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_installing_the_package_adds_its_names_without_importing_it(site: Path) -> None:
    found = run_with_plugin(
        site,
        "result = [unetzoo.list_models('ghost*'), unetzoo.list_components('block', 'ghost'),"
        " unetzoo.list_components('encoder', 'ghost'), 'unetzoo_ghost' in sys.modules]",
    )
    assert found == [["ghost_flat", "ghost_unet"], ["ghost"], ["ghost"], False]


def test_cards_name_the_distribution_that_a_model_comes_from(site: Path) -> None:
    sources = run_with_plugin(site, "result = [unetzoo.info(n).source for n in ('ghost_flat', 'ghost_unet', 'unet')]")
    assert sources == ["unetzoo-ghost", "unetzoo-ghost", "unetzoo"]


TRAIN = """
import torch
model = unetzoo.create({name!r}, num_classes=3, ndim={ndim}, {options})
logits = model(torch.randn(2, 3, *{size}))
logits.square().mean().backward()
silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
classes = {{type(module).__name__ for module in model.modules()}}
result = [list(logits.shape), silent, [name for name in classes if 'Ghost' in name]]
"""


@pytest.mark.parametrize(
    ("name", "ndim", "options", "size", "ghosts"),
    [
        ("ghost_flat", 2, "", (9, 14), {"GhostFlat", "GhostBlock", "GhostModule"}),
        ("ghost_unet", 2, "", (33, 48), {"GhostEncoder", "GhostBlock", "GhostModule"}),
        ("ghost_unet", 3, "", (16, 19, 32), {"GhostEncoder", "GhostBlock", "GhostModule"}),
        ("unet", 2, "block='ghost', encoder={'channels': [4, 8, 16]}", (16, 20), {"GhostBlock", "GhostModule"}),
    ],
)
def test_networks_with_parts_of_the_package_run_forward_and_train_every_parameter(
    site: Path, name: str, ndim: int, options: str, size: tuple[int, ...], ghosts: set[str]
) -> None:
    code = TRAIN.format(name=name, ndim=ndim, options=options, size=size)
    shape, silent, classes = run_with_plugin(site, code)
    assert shape == [2, 3, *size]
    assert silent == []
    assert set(classes) == ghosts


def test_a_ratio_that_does_not_divide_the_channels_is_an_error_that_names_both(site: Path) -> None:
    message = run_with_plugin(
        site,
        "try:\n    unetzoo.create('unet', block={'name': 'ghost', 'ratio': 3})\n"
        "except unetzoo.ConfigError as error:\n    result = str(error)",
    )
    assert "ratio is 3" in message
    assert "divisor of the 128 channels" in message


def test_a_ghost_module_makes_its_second_half_from_its_first(site: Path) -> None:
    same = run_with_plugin(
        site,
        "import torch\nfrom unetzoo_ghost.block import GhostModule\n"
        "module = GhostModule(5, 8, ndim=2).eval()\nx = torch.randn(1, 5, 6, 6)\ny = module(x)\n"
        "weights = [list(p.shape) for p in module.parameters() if p.ndim == 4]\n"
        "result = [torch.equal(y[:, 4:], module.cheap(y[:, :4])), weights]",
    )
    # Section 3.1 with n = 8, s = 2, d = 3, c = 5: m = 4 intrinsic maps by 1x1, then one depthwise 3x3 each.
    assert same == [True, [[4, 5, 1, 1], [4, 1, 3, 3]]]
