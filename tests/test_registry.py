"""Names, provenance, clashes and broken plugins."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

import unetzoo
from tests.conftest import Install
from unetzoo import ConfigError, PluginError, UnknownNameError, registry
from unetzoo.blocks.double_conv import DoubleConv

pytestmark = pytest.mark.usefixtures("clean_registry")


class Ghost(nn.Identity):
    def __init__(self, in_channels: int, out_channels: int, *, ndim: int) -> None:
        super().__init__()


def test_listing_models_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys, unetzoo; assert 'dlinknet34' in unetzoo.list_models(); "
        "print([name for name in ('torch', 'timm', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_built_in_parts_come_from_the_entry_points_of_the_distribution() -> None:
    entry = registry.find("block", "double_conv")
    assert entry.source == "unetzoo"
    assert entry.load() is DoubleConv
    assert entry.origin.group == "unetzoo.blocks"


def test_a_name_registered_at_run_time_is_found_and_listed() -> None:
    unetzoo.register("block", "ghost", Ghost)
    assert registry.get("block", "ghost") is Ghost
    assert "ghost" in unetzoo.list_components("block")
    assert registry.find("block", "ghost").source == "runtime"


def test_register_is_a_decorator_too() -> None:
    @unetzoo.register("block", "ghost")
    class Other(Ghost):
        pass

    assert registry.get("block", "ghost") is Other


def test_registering_a_taken_name_is_refused_and_leaves_the_first() -> None:
    unetzoo.register("block", "ghost", Ghost)
    with pytest.raises(PluginError, match="already registered by runtime; pass replace=True"):
        unetzoo.register("block", "ghost", DoubleConv)
    assert registry.get("block", "ghost") is Ghost


def test_replace_replaces_a_run_time_registration_but_never_a_distributions() -> None:
    unetzoo.register("block", "ghost", Ghost)
    unetzoo.register("block", "ghost", DoubleConv, replace=True)
    assert registry.get("block", "ghost") is DoubleConv
    with pytest.raises(PluginError, match="already registered by unetzoo"):
        unetzoo.register("block", "residual", Ghost, replace=True)


def test_unregister_takes_a_name_back() -> None:
    unetzoo.register("block", "ghost", Ghost)
    unetzoo.unregister("block", "ghost")
    with pytest.raises(UnknownNameError):
        registry.get("block", "ghost")
    with pytest.raises(UnknownNameError, match="was registered at run time"):
        unetzoo.unregister("block", "ghost")


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a b", "a::b", "/a", "a/", "dist:a", ".hidden", "a\n"])
def test_a_name_that_could_be_a_path_cannot_be_registered(name: str) -> None:
    with pytest.raises(PluginError, match="cannot be a name"):
        unetzoo.register("block", name, Ghost)


def test_what_is_not_callable_cannot_be_registered() -> None:
    with pytest.raises(PluginError, match="expected a class or function, got int"):
        unetzoo.register("block", "ghost", 3)
    assert "ghost" not in unetzoo.list_components("block")


def test_an_unknown_kind_tells_the_kinds() -> None:
    with pytest.raises(UnknownNameError, match="expected one of model, encoder, .*did you mean 'encoder'"):
        unetzoo.list_components("encoders")


def test_an_unknown_name_tells_the_nearest_spellings() -> None:
    with pytest.raises(UnknownNameError, match="unknown block 'double_con'; did you mean 'double_conv'"):
        registry.get("block", "double_con")


def test_a_config_that_is_named_where_a_component_belongs_is_told_as_one() -> None:
    with pytest.raises(UnknownNameError, match="'linknet34' is a config; to begin from it, write `extends: linknet34`"):
        registry.get("model", "linknet34")


def test_an_unknown_name_within_a_namespace_tells_the_nearest_spellings() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet34'"):
        registry.get("encoder", "timm/resnt34")


def test_a_namespace_is_listed_only_when_asked_for() -> None:
    assert "timm/resnet34" in unetzoo.list_components("encoder", "timm/res*")
    assert not [name for name in unetzoo.list_components("encoder") if name.startswith("timm/")]


def test_errors_are_also_the_builtin_that_a_caller_would_expect() -> None:
    assert issubclass(UnknownNameError, KeyError)
    for error in (unetzoo.ConfigError, unetzoo.CheckpointError, unetzoo.PluginError, unetzoo.InputError):
        assert issubclass(error, ValueError)
    assert str(UnknownNameError("a plain message")) == "a plain message"


def test_a_plugin_is_found_without_being_imported_and_imported_when_asked_for(install: Install) -> None:
    install(
        "acme",
        files={"acme/__init__.py": "", "acme/blocks.py": "class Block: ..."},
        entry_points={"unetzoo.blocks": {"acme_block": "acme.blocks:Block"}},
    )
    assert "acme_block" in unetzoo.list_components("block")
    assert "acme" not in sys.modules
    assert registry.find("block", "acme_block").source == "acme"
    assert registry.get("block", "acme_block").__name__ == "Block"


def test_configs_of_a_nested_package_are_found_without_importing_it(install: Install) -> None:
    install(
        "acme",
        files={
            "acme/__init__.py": "raise RuntimeError('imported')",
            "acme/zoo/__init__.py": "raise RuntimeError('imported')",
            "acme/zoo/family/acme_net.yaml": "extends: unet\n",
        },
        entry_points={"unetzoo.configs": {"acme": "acme.zoo"}},
    )
    assert "acme_net" in unetzoo.list_models()
    assert unetzoo.info("acme_net").source == "acme"


def test_a_plugin_that_fails_to_import_harms_its_own_name_alone(install: Install) -> None:
    install(
        "broken",
        files={"broken/__init__.py": "import a_module_that_is_not_there"},
        entry_points={"unetzoo.blocks": {"broken_block": "broken:Block"}, "unetzoo.configs": {"broken": "broken.zoo"}},
    )
    assert "broken_block" in unetzoo.list_components("block")
    assert "unet" in unetzoo.list_models()
    unetzoo.create("unet", encoder={"channels": [4, 8]})
    with pytest.raises(
        PluginError, match=r"'broken_block' of broken cannot be imported from 'broken:Block': ModuleNotFoundError"
    ):
        unetzoo.create("unet", block="broken_block")


def test_a_name_that_two_distributions_hold_is_an_error_that_names_both(install: Install) -> None:
    for name in ("one", "two"):
        install(
            name,
            files={f"{name}/__init__.py": f"class Block: owner = {name!r}"},
            entry_points={"unetzoo.blocks": {"twin": f"{name}:Block"}},
        )
    with pytest.raises(
        PluginError, match="block 'twin' is registered by one and by two; write 'one:twin' or 'two:twin'"
    ):
        registry.get("block", "twin")
    assert registry.get("block", "two:twin").owner == "two"
    assert {"one:twin", "two:twin"} <= set(unetzoo.list_components("block"))
    assert "twin" not in unetzoo.list_components("block")


def test_a_config_may_bear_the_name_of_the_component_that_it_describes(install: Install) -> None:
    install(
        "acme",
        files={"acme_zoo/thing.yaml": "model: {name: thing, width: 3}\n", "acme_code.py": "class Thing: ..."},
        entry_points={"unetzoo.configs": {"acme": "acme_zoo"}, "unetzoo.models": {"thing": "acme_code:Thing"}},
    )
    assert unetzoo.list_models("thing") == ["thing"]
    assert registry.find("model", "thing").config is not None
    assert registry.get("model", "thing").__name__ == "Thing"


def test_a_clash_with_a_built_in_model_never_replaces_it(install: Install) -> None:
    install(
        "acme",
        files={"acme_zoo/unet.yaml": "extends: 'unetzoo:unet'\nencoder: {channels: [4, 8]}\n"},
        entry_points={"unetzoo.configs": {"acme": "acme_zoo"}},
    )
    with pytest.raises(PluginError, match="registered by acme and by unetzoo"):
        unetzoo.create("unet")
    assert unetzoo.create("acme:unet").encoder.channels == [4, 8]
    assert unetzoo.info("unetzoo:unet").sizes.params == 31_037_698


def test_an_error_inside_a_builder_is_not_reported_as_an_unknown_name() -> None:
    def build(*, in_channels: int, num_classes: int) -> nn.Module:
        raise KeyError("a key of the builder's own")

    unetzoo.register("model", "raises", build)
    with pytest.raises(ConfigError, match="a key of the builder's own"):
        unetzoo.create("raises")


def test_a_provider_serves_its_namespace(install: Install) -> None:
    install(
        "acme",
        files={
            "acme.py": (
                "from unetzoo.errors import UnknownNameError\n"
                "class Provider:\n"
                "    def names(self, kind): return ['thing'] if kind == 'block' else []\n"
                "    def get(self, kind, name):\n"
                "        if name != 'thing': raise UnknownNameError(name)\n"
                "        return dict\n"
            )
        },
        entry_points={"unetzoo.providers": {"acme": "acme:Provider"}},
    )
    assert unetzoo.list_components("block", "acme/*") == ["acme/thing"]
    assert registry.get("block", "acme/thing") is dict
    assert registry.find("block", "acme/thing").source == "acme"
    with pytest.raises(UnknownNameError):
        registry.get("block", "acme/other")


def test_a_provider_that_lacks_a_method_is_a_plugin_error(install: Install) -> None:
    install(
        "acme", files={"acme.py": "class Provider: ..."}, entry_points={"unetzoo.providers": {"acme": "acme:Provider"}}
    )
    with pytest.raises(PluginError, match="'acme' of acme is no provider"):
        registry.get("block", "acme/thing")


@pytest.mark.parametrize(
    ("kind", "name", "suggestion"),
    [
        ("encoder", "resnet18", "'timm/resnet18'"),
        ("model", "fpn", "'smp/fpn'"),
        ("model", "segresnet", "'monai/segresnet'"),
        ("model", "deeplabv3_resnet50", "'torchvision/deeplabv3_resnet50'"),
        ("model", "timm/unetplusplus", "'smp/unetplusplus'"),
        ("encoder", "timm/resnet81", "'resnet18'"),
        ("model", "resnet18", r"create\('unet', encoder='timm/resnet18'\)"),
        ("model", "timm/resnet34.a1_in1k", r"create\('unet', encoder='timm/resnet34.a1_in1k'\)"),
        ("model", "conv", r"create\('unet', encoder='conv'\)"),
    ],
)
def test_an_unknown_name_is_looked_for_in_other_namespaces(kind: str, name: str, suggestion: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*{suggestion}"):
        registry.find(kind, name)
