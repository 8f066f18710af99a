"""The command line: what it prints and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import unetzoo
from unetzoo.cli import app
from unetzoo.cli.options import parse_overrides
from unetzoo.config.schema import ModelConfig

run = CliRunner().invoke


def unetzoo_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "unetzoo", *arguments], capture_output=True, text=True, check=False)


def test_list_shows_every_model_and_its_distribution() -> None:
    done = run(app, ["list", "--json"])
    assert done.exit_code == 0
    assert {row["name"]: row["source"] for row in json.loads(done.stdout)} == dict.fromkeys(
        unetzoo.list_models(), "unetzoo"
    )


def test_list_filters_by_pattern_kind_and_namespace() -> None:
    models = [row["name"] for row in json.loads(run(app, ["list", "*linknet34", "--json"]).stdout)]
    assert models == ["dlinknet34", "linknet34"]
    encoders = [
        row["name"] for row in json.loads(run(app, ["list", "timm/resnet3*", "--kind", "encoder", "--json"]).stdout)
    ]
    assert "timm/resnet34" in encoders
    assert all(name.startswith("timm/resnet3") for name in encoders)


def test_list_shows_what_a_model_is_for_and_names_the_namespaces() -> None:
    (row,) = json.loads(run(app, ["list", "dlinknet34", "--json"]).stdout)
    card = unetzoo.info("dlinknet34")
    assert (row["year"], row["dims"], row["params"]) == (2018, "2-D, 3-D", card.sizes.params)
    assert row["for"] == card.description
    assert "'smp/*'" in run(app, ["list"]).stdout
    small = {row["name"] for row in json.loads(run(app, ["list", "--max-params", "1.2", "--json"]).stdout)}
    assert "u2netp" in small
    assert "unet" not in small


def test_list_exits_with_1_if_nothing_matches() -> None:
    assert run(app, ["list", "no_such*"]).exit_code == 1


def test_the_table_is_for_people() -> None:
    done = run(app, ["list", "dlinknet34"])
    assert "dlinknet34" in done.stdout
    assert "source" in done.stdout


def test_info_shows_the_card() -> None:
    card = json.loads(run(app, ["info", "dlinknet34", "--json"]).stdout)
    assert card == json.loads(unetzoo.info("dlinknet34").model_dump_json())
    assert "31,096,129" in run(app, ["info", "dlinknet34"], env={"COLUMNS": "120"}).stdout


def test_summary_counts_parameters_sizes_and_flops() -> None:
    arguments = [
        "summary",
        "unet",
        "--size",
        "32",
        "--size",
        "48",
        "-o",
        "encoder.channels=[4, 8]",
        "-o",
        "num_classes=2",
    ]
    result = json.loads(run(app, [*arguments, "--json"]).stdout)
    model = unetzoo.create("unet", encoder={"channels": [4, 8]}, num_classes=2)
    assert result["params"] == sum(p.numel() for p in model.parameters())
    assert (result["input"], result["output"]) == ([1, 3, 32, 48], [1, 2, 32, 48])
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["encoder"]["outputs"] == [[1, 4, 32, 48], [1, 8, 16, 24]]
    # By hand, in multiplications: two 3x3 convolutions a stage, the 2x2 deconvolution by two, the 1x1 head.
    fine, coarse = 32 * 48, 16 * 24
    encoder = fine * 9 * (3 * 4 + 4 * 4) + coarse * 9 * (4 * 8 + 8 * 8)
    decoder = fine * (8 * 4) + fine * 9 * (8 * 4 + 4 * 4)
    assert result["flops"] == 2 * (encoder + decoder + fine * 4 * 2)
    assert f"{result['params']:,}" in run(app, arguments).stdout


def test_schema_is_that_of_the_config(tmp_path: Path) -> None:
    assert run(app, ["schema", "--out", str(tmp_path / "schema.json")]).exit_code == 0
    assert json.loads((tmp_path / "schema.json").read_text()) == ModelConfig.model_json_schema()
    assert json.loads(run(app, ["schema"]).stdout) == ModelConfig.model_json_schema()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "dlinknet43"], "UnknownNameError: unknown model 'dlinknet43'; did you mean 'dlinknet34'"),
        (["summary", "unet", "-o", "num_classes"], "expected key=value"),
        (["summary", "unet", "-o", "encodr.name=conv"], "encodr: unknown key; did you mean 'encoder'"),
        (["list", "--kind", "blocks"], "did you mean 'block'"),
        (["new-plugin", "../evil"], "expected a distribution name"),
    ],
)
def test_refused_input_is_a_message_and_exit_code_2_without_a_traceback(arguments: list[str], message: str) -> None:
    done = unetzoo_command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_options_are_nested_by_dots_and_read_as_yaml() -> None:
    assert parse_overrides(["encoder=conv", "encoder.channels=[4, 8]", "deep_supervision=true"]) == {
        "encoder": {"name": "conv", "channels": [4, 8]},
        "deep_supervision": True,
    }


def test_a_new_plugin_installs_and_its_own_tests_pass(tmp_path: Path) -> None:
    assert run(app, ["new-plugin", "unetzoo-wavy-thing", "--out", str(tmp_path)]).exit_code == 0
    package, site = tmp_path / "unetzoo-wavy-thing", tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, str(package)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    listing = subprocess.run(
        [sys.executable, "-m", "unetzoo", "list", "wavy*", "--json"], env=environment, capture_output=True, check=True
    )
    (row,) = json.loads(listing.stdout)
    assert (row["name"], row["source"]) == ("wavy_thing_unet", "unetzoo-wavy-thing")
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", str(package / "tests"), "-c", os.devnull, "--rootdir", str(package)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "check_output_shape" in tests.stdout
    for file in ("LICENSE", ".gitignore", ".github/workflows/test.yml"):
        assert (package / file).is_file()


def test_a_plugin_is_not_written_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "unetzoo-x").mkdir()
    done = run(app, ["new-plugin", "unetzoo-x", "--out", str(tmp_path)])
    assert isinstance(done.exception, unetzoo.ConfigError)
    assert list((tmp_path / "unetzoo-x").iterdir()) == []
