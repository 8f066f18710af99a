"""Saving a model as a folder and making it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import unetzoo
from unetzoo import CheckpointError, ConfigError, DenseModel


def tiny(**overrides: object) -> DenseModel:
    return unetzoo.create("unet", encoder={"channels": [4, 8]}, decoder={"skip": "attention"}, **overrides)


def test_a_model_comes_back_with_its_config_weights_and_function(tmp_path: Path) -> None:
    model = tiny(num_classes=5, in_channels=2)
    model(torch.randn(4, 2, 16, 16))  # moves the batch statistics
    unetzoo.save_pretrained(model, tmp_path / "out")
    again = unetzoo.from_pretrained(tmp_path / "out")
    x = torch.randn(1, 2, 17, 19)
    assert torch.equal(again(x), model.eval()(x))
    assert again.config == model.config
    assert not again.training


def test_the_folder_holds_plain_json_and_safetensors(tmp_path: Path) -> None:
    model = tiny(num_classes=5)
    unetzoo.save_pretrained(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["num_classes"] == 5
    assert safetensors.torch.load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


def test_a_new_head_is_saved_with_its_classes(tmp_path: Path) -> None:
    model = tiny()
    model.reset_head(9)
    unetzoo.save_pretrained(model, tmp_path)
    assert unetzoo.from_pretrained(str(tmp_path)).num_classes == 9


def test_a_failed_save_leaves_the_old_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unetzoo.save_pretrained(tiny(num_classes=2), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(state: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        unetzoo.save_pretrained(tiny(num_classes=3), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json: cannot be read"):
        unetzoo.from_pretrained(tmp_path)


def test_what_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is neither a folder nor a hub repository"):
        unetzoo.from_pretrained(tmp_path / "nothing" / "here" / "at all")


def test_a_hub_id_is_fetched_by_its_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    unetzoo.save_pretrained(model, tmp_path)
    asked: list[tuple[str, list[str]]] = []

    def snapshot(repo_id: str, *, revision: object, token: object, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert unetzoo.from_pretrained("user/model").config == model.config
    assert asked == [("user/model", ["config.json", "model.safetensors"])]


def test_a_model_that_create_did_not_make_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DenseModel has no config"):
        unetzoo.save_pretrained(DenseModel(in_channels=1, num_classes=1, ndim=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()
