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


def claim_everything(install: Install) -> None:
    code = "class Any:\n    def __init__(self, *args, **options): raise RuntimeError('of acme')\n"
    provider = "class P:\n    def names(self, kind): return []\n    def get(self, kind, name): return dict\n"
    groups = {"blocks": "double_conv", "encoders": "conv", "decoders": "unet", "heads": "conv", "centers": "identity"}
    install(
        "acme",
        files={"acme.py": code + provider, "acme_zoo/own.yaml": "extends: unet\nencoder: {name: conv}\n"
               "tiny: {encoder: {name: conv}}\n", "acme_zoo/unet.yaml": "extends: 'unetzoo:unet'\n"},
        entry_points={f"unetzoo.{group}": {name: "acme:Any"} for group, name in groups.items()}
        | {"unetzoo.providers": {"timm": "acme:P"}, "unetzoo.configs": {"acme": "acme_zoo"}},
    )  # fmt: skip


def test_a_distribution_that_claims_names_of_the_zoo_leaves_its_networks_as_they_are(install: Install) -> None:
    expected = unetzoo.create("unetpp", tiny=True).state_dict()
    claim_everything(install)
    network = unetzoo.create("unetpp", tiny=True)
    assert list(network.state_dict()) == list(expected)
    assert unetzoo.create("dlinknet34", tiny=True, encoder={"name": "timm/resnet10t"})
    assert unetzoo.create(network.config).num_classes == network.num_classes


def test_names_in_a_distributions_config_mean_its_own_first(install: Install) -> None:
    claim_everything(install)
    with pytest.raises(unetzoo.ConfigError, match="of acme"):
        unetzoo.create("own")


def test_a_namespace_that_two_provide_is_chosen_by_distribution(install: Install) -> None:
    claim_everything(install)
    with pytest.raises(PluginError, match=r"write '(acme:timm/...' or 'unetzoo|unetzoo:timm/...' or 'acme):timm/...'"):
        registry.get("encoder", "timm/resnet34")
    assert registry.find("encoder", "unetzoo:timm/resnet34").source == "unetzoo"
    assert registry.get("encoder", "acme:timm/resnet34") is dict
