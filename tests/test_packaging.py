"""The wheel: alone in a fresh environment it holds the configs and works."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_configs_types_templates_and_license_but_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "zoo_configs").rglob("*.yaml")}
    assert configs
    assert configs <= names
    assert {"unetzoo/py.typed", "unetzoo/cli/plugin_template/pyproject.toml.template"} <= names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert not [name for name in names if name.split("/")[0] in ("tests", "examples", "docs", "benchmarks")]


def test_the_wheel_works_alone_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    query = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies come from this environment, after the wheel's own folder; its editable install does not.
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n")
    code = (
        "import unetzoo, zoo_configs, torch; "
        "print(unetzoo.__file__); print(zoo_configs.__file__); "
        "assert 'dlinknet34' in unetzoo.list_models(); "
        "print(tuple(unetzoo.create('dlinknet34', num_classes=22).eval()(torch.zeros(1, 3, 64, 64)).shape))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    package, configs, shape = done.stdout.splitlines()
    assert package.startswith(str(site))
    assert configs.startswith(str(site))
    assert shape == "(1, 22, 64, 64)"
