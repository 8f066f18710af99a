"""Reading, extending, overriding and validating configs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import unetzoo
from unetzoo import ConfigError, UnknownNameError
from unetzoo.config.resolving import resolve, validate
from unetzoo.config.schema import ModelConfig

TINY = {
    "block": {"name": "double_conv"},
    "encoder": {"name": "conv", "channels": [4, 8]},
    "decoder": {"name": "unet"},
    "head": {"name": "conv"},
}


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def test_a_mapping_describes_a_model() -> None:
    model = unetzoo.create(TINY, num_classes=3)
    assert model.encoder.channels == [4, 8]
    assert model.config.num_classes == 3


def test_every_mistake_of_a_file_is_told_at_once_with_line_key_and_expectation(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.yaml",
        """\
        encoder: {name: covn, channels: [4, 8]}
        decoder:
          name: unet
          upsmaple: deconv
        head: {name: conv}
        num_classes: many
        car: {}
        """,
    )
    with pytest.raises(ConfigError) as caught:
        unetzoo.create(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 mistakes in the config of 'mine':"
    assert any(f"{path}:1: encoder.name: unknown encoder 'covn'; did you mean 'conv'?" in line for line in lines)
    assert any(f"{path}:4: decoder.upsmaple: unknown option" in line and "'upsample'" in line for line in lines)
    assert any(f"{path}:6: num_classes: expected a whole number, got 'many'" in line for line in lines)
    assert any(f"{path}:7: car: unknown key; did you mean 'card'?" in line for line in lines)


def test_the_type_of_an_option_is_checked_against_the_parts_signature() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.channels.*got 'many'"):
        unetzoo.create({**TINY, "encoder": {"name": "conv", "channels": "many"}})


def test_an_option_of_the_block_within_a_part_is_checked() -> None:
    with pytest.raises(
        ConfigError, match=r"decoder\.block\.dropuot: unknown option of DoubleConv; did you mean 'dropout'"
    ):
        unetzoo.create({**TINY, "decoder": {"name": "unet", "block": {"name": "double_conv", "dropuot": 0.1}}})


def test_an_argument_that_the_model_sets_cannot_be_an_option() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.in_channels: set by the model itself"):
        unetzoo.create({**TINY, "encoder": {"name": "conv", "in_channels": 4}})


def test_a_config_without_a_part_names_what_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        unetzoo.create({"encoder": {"name": "conv"}})
    assert "decoder: missing" in str(caught.value)
    assert "head: missing" in str(caught.value)


def test_a_model_component_has_no_parts() -> None:
    with pytest.raises(ConfigError, match="encoder: a config with a 'model' component has no parts"):
        unetzoo.create({"model": {"name": "x"}, "encoder": {"name": "conv"}})


def test_extending_merges_options_and_a_new_name_drops_those_of_the_old(tmp_path: Path) -> None:
    base = write(
        tmp_path / "base.yaml",
        """\
        encoder: {name: conv, channels: [4, 8], downsample: avg}
        decoder: {name: unet, skip: add, upsample: {name: linear, align_corners: true}}
        head: {name: conv}
        card: {year: 2015, sizes: {params: 7}}
        """,
    )
    child = write(
        tmp_path / "child.yaml", "extends: base.yaml\nencoder: {channels: [4, 16]}\ndecoder: {upsample: nearest}\n"
    )
    config, _ = validate(resolve(child))
    assert config.encoder.options == {"channels": [4, 16], "downsample": "avg"}
    assert config.decoder.options == {"skip": "add", "upsample": {"name": "nearest"}}
    assert config.card.year == 2015
    assert config.card.sizes is None
    assert base.exists()


def test_overrides_of_create_merge_into_the_config() -> None:
    model = unetzoo.create(TINY, decoder={"skip": "attention"}, block={"norm": "instance"})
    assert model.config.decoder.options == {"skip": "attention"}
    assert model.config.block.options == {"norm": "instance"}


def test_an_encoder_by_name_replaces_the_configs_with_its_options() -> None:
    model = unetzoo.create(TINY, encoder="timm/resnet18")
    assert model.config.encoder.options == {}
    assert model.encoder.strides == [2, 4, 8, 16, 32]


def test_the_networks_block_is_the_default_of_each_part_and_a_parts_own_changes_it() -> None:
    model = unetzoo.create(
        {
            **TINY,
            "block": {"name": "double_conv", "norm": "group"},
            "decoder": {"name": "unet", "block": {"activation": "elu"}},
        }
    )
    kinds = {type(module).__name__ for module in model.decoder.modules()}
    assert {"GroupNorm", "ELU"} <= kinds
    assert "ReLU" not in kinds
    assert "ReLU" in {type(module).__name__ for module in model.encoder.modules()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder: [", "mine.yaml:1: "),
        ("encoder: {name: conv}\nencoder: {name: conv}\n", "mine.yaml:2: duplicate key 'encoder'"),
        ("a: &x [1]\nb: *x\n", "mine.yaml:2: aliases are not supported"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("!!python/object:os.system {}\n", "could not determine a constructor"),
        ("- a\n- b\n", "expected a mapping of keys to values, got list"),
        ("", "expected a mapping of keys to values, got NoneType"),
        ("extends: 3\n", "extends: expected the name of a config or a path, got 3"),
        ("? [a, b]\n: 1\n", "mine.yaml:1: expected a plain key"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        unetzoo.create(write(tmp_path / "mine.yaml", text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.yaml: cannot be read"):
        unetzoo.create(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary.yaml: cannot be read"):
        unetzoo.create(str(binary))


def test_a_file_that_was_changed_is_read_anew_and_what_was_read_belongs_to_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: unet\nencoder: {channels: [8, 16]}\n")
    first = resolve(file)
    first.data["encoder"]["channels"].append("mine")
    first.origins.clear()
    assert resolve(file).data["encoder"]["channels"] == [8, 16]
    assert resolve(file).origins
    file.write_text("extends: unet\nencoder: {channels: [8, 32]}\n")
    assert resolve(file).data["encoder"]["channels"] == [8, 32]


def test_a_config_that_extends_itself_is_refused_with_the_chain(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"extends itself: a.yaml -> b.yaml -> a.yaml"):
        unetzoo.create(tmp_path / "a.yaml")


def test_what_is_built_by_code_cannot_be_extended() -> None:
    with pytest.raises(UnknownNameError):
        unetzoo.create({"extends": "no_such_model"})


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "unet;", "un et", "dist:", "~/x"])
def test_a_name_that_is_a_path_or_nonsense_does_nothing_but_raise(name: str) -> None:
    with pytest.raises(UnknownNameError, match="is not a name of a model"):
        unetzoo.create(name)


def test_a_config_round_trips_through_its_dump() -> None:
    config, _ = validate(resolve("dlinknet34"))
    again = ModelConfig.model_validate(config.model_dump(mode="json", exclude_defaults=True))
    assert again == config


def test_the_schema_accepts_every_named_config_and_refuses_an_unknown_key() -> None:
    schema = ModelConfig.model_json_schema()
    assert schema["additionalProperties"] is False
    part = schema["$defs"]["PartConfig"]
    assert {"type": "string"} in part["anyOf"]


@pytest.mark.parametrize("name", unetzoo.list_models())
def test_every_named_config_is_valid_and_its_card_complete(name: str) -> None:
    card = unetzoo.info(name)
    assert card.name == name
    for field in ("title", "authors", "year", "paper", "description", "follows", "tags", "parts", "sizes"):
        assert getattr(card, field), f"{name}: the card has no {field}"


def test_keys_for_2d_or_3d_count_where_the_model_is_created_so_and_create_overrides_them() -> None:
    config = {
        **TINY,
        "in_3d": {"encoder": {"channels": [4, 6, 8]}, "capabilities": {"min_size": 5}},
        "in_2d": {"num_classes": 7},
    }
    flat, deep = unetzoo.create(config), unetzoo.create(config, ndim=3)
    assert (flat.encoder.channels, flat.num_classes) == ([4, 8], 7)
    assert (deep.encoder.channels, deep.num_classes, deep.min_size) == ([4, 6, 8], 1, 5)
    assert unetzoo.create(config, ndim=3, encoder={"channels": [3, 5]}).encoder.channels == [3, 5]
    again = unetzoo.create(deep.config)
    assert (again.ndim, again.encoder.channels) == (3, [4, 6, 8])


def test_a_mistake_in_keys_for_3d_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "flat.yaml",
        """\
        encoder: {name: conv, channels: [4, 8]}
        decoder: unet
        head: conv
        in_3d:
          encoder: {chanels: [4, 6]}
        """,
    )
    unetzoo.create(path)
    with pytest.raises(ConfigError, match=r"flat.yaml:5: encoder.chanels: unknown option"):
        unetzoo.create(path, ndim=3)
    with pytest.raises(ConfigError, match="in_3d"):
        unetzoo.create({**TINY, "in_3d": 3}, ndim=3)
