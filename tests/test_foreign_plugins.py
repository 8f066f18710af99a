"""A plugin that fails harms its own names alone, and is named by the error."""

from __future__ import annotations

import threading

import pytest

import unetzoo
from tests.conftest import Install
from unetzoo import PluginError, registry

pytestmark = pytest.mark.usefixtures("clean_registry")


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "raise BaseException('x')", "import sys; sys.exit()", "Net = 5"]
)
def test_a_plugin_that_ends_its_process_or_is_no_component_is_a_plugin_error(install: Install, code: str) -> None:
    install("acme", files={"acme.py": code}, entry_points={"unetzoo.models": {"net": "acme:Net"}})
    with pytest.raises(PluginError, match="'net' of acme"):
        unetzoo.create("net")
    assert unetzoo.create("unet", tiny=True)


PROVIDER = (
    "class P:\n    def __init__(self): {made}\n    def names(self, kind): {names}\n    def get(self, kind, name): {get}"
)


@pytest.mark.parametrize(
    ("made", "names", "get"),
    [
        ("raise SystemExit", "return []", "return dict"),
        ("pass", "raise OSError('down')", "raise OSError('down')"),
        ("pass", "return 5", "return 5"),
        ("pass", "return [5]", "return None"),
    ],
)
def test_a_provider_that_raises_or_returns_rubbish_is_a_plugin_error(
    install: Install, made: str, names: str, get: str
) -> None:
    code = PROVIDER.format(made=made, names=names, get=get)
    install("acme", files={"acme.py": code}, entry_points={"unetzoo.providers": {"acme": "acme:P"}})
    for asked in (lambda: unetzoo.list_components("encoder", "acme/*"), lambda: registry.get("encoder", "acme/x")):
        with pytest.raises(PluginError, match="'acme' of acme"):
            asked()
    with pytest.raises(unetzoo.UnknownNameError, match="unknown encoder 'resnot34'"):
        registry.get("encoder", "resnot34")


def test_about_that_is_no_mapping_is_a_plugin_error(install: Install) -> None:
    install("acme", files={"acme.py": "class Net: about = 5"}, entry_points={"unetzoo.models": {"net": "acme:Net"}})
    with pytest.raises(PluginError, match="model 'net' of acme: about is 5; expected a mapping"):
        unetzoo.info("net")


def test_of_threads_that_register_one_name_one_wins() -> None:
    won, started = [], threading.Barrier(16)

    def claim(number: int) -> None:
        started.wait()
        try:
            unetzoo.register("block", "contested", lambda: number)
            won.append(number)
        except PluginError:
            pass

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert registry.get("block", "contested")() == won[0]
