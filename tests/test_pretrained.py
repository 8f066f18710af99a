"""Saving a model as a folder and making it again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

import unetzoo
from unetzoo import CheckpointError, Classes, ConfigError, DenseModel, Preprocessing, Provenance


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
    with pytest.raises(CheckpointError, match="here: no such folder"):
        unetzoo.from_pretrained(tmp_path / "nothing" / "here")
    with pytest.raises(CheckpointError, match="is neither a folder nor a hub repository"):
        unetzoo.from_pretrained("nothing/here/at all")
    with pytest.raises(CheckpointError, match="expected a folder or the id of a hub repository, got a Linear"):
        unetzoo.Predictor(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("preprocessing", "imagenet", "1 mistake in preprocessing of the model"),
        ("preprocessing", {"mean": [0.5], "std": [0.5]}, "1 channels for a 2-D model that takes 3"),
        ("preprocessing", {"ndim": 3}, "3-D images with 3 channels for a 2-D model that takes 3"),
        ("classes", ["road", "sky"], "2 classes for a model with 3 outputs"),
        ("provenance", {"licence": "MIT"}, "licence: unknown key; did you mean 'license'"),
    ],
)
def test_what_does_not_describe_the_model_cannot_be_set(name: str, value: object, told: str) -> None:
    model = unetzoo.create("unet", tiny=True, num_classes=3)
    with pytest.raises(ConfigError, match=told):
        setattr(model, name, value)
    assert getattr(model, name) is None


def test_classes_can_be_set_by_their_names() -> None:
    model = unetzoo.create("unet", tiny=True, num_classes=3)
    setattr(model, "classes", ["road", "sky", "tree"])  # noqa: B010
    assert model.classes is not None
    assert model.classes.names == ("road", "sky", "tree")


def test_a_model_that_create_did_not_make_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DenseModel has no config"):
        unetzoo.save_pretrained(DenseModel(in_channels=1, num_classes=1, ndim=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_stands_beside_the_weights_comes_back_with_them(tmp_path: Path) -> None:
    model = tiny(num_classes=2)
    model.preprocessing = Preprocessing(channels="bgr", input_range=None, per_image=True, spacing=(0.5, 0.5))
    model.classes = Classes(names=("background", "road"), colors=((0, 0, 0), (255, 0, 0)), ignore_index=255)
    model.provenance = Provenance(trained_on="roads", license="CC0")
    model.save_pretrained(tmp_path)
    again = unetzoo.from_pretrained(tmp_path)
    assert (again.preprocessing, again.classes, again.provenance) == (
        model.preprocessing,
        model.classes,
        model.provenance,
    )
    again.reset_head(5)
    assert again.classes is None
    again.save_pretrained(tmp_path / "other")
    assert unetzoo.from_pretrained(tmp_path / "other").classes is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"preprocessing": {"meen": [0.5]}}, "preprocessing.meen: unknown key"),
        ({"preprocessing": {"mean": [0.5], "std": [0.0]}}, "preprocessing.std.0"),
        ({"classes": {"names": []}}, "classes.names"),
        ({"encoder": {"name": "conv", "chanels": [4, 8]}}, "encoder.chanels: unknown option"),
        ({"num_classes": "many"}, "num_classes"),
    ],
)
def test_a_config_with_mistakes_is_refused_with_file_and_key(tmp_path: Path, change: dict, told: str) -> None:
    tiny().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        unetzoo.from_pretrained(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\xff"])
def test_a_corrupt_config_is_refused(tmp_path: Path, content: str) -> None:
    tiny().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config.json: (cannot be read|holds a list)"):
        unetzoo.from_pretrained(tmp_path)


def test_a_training_run_that_is_not_finished_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: unet\n")
    with pytest.raises(CheckpointError, match=r"not finished; finish it with `unetzoo train .*yaml --out .* --resume`"):
        unetzoo.from_pretrained(tmp_path)
    tiny().save_pretrained(tmp_path / "model")
    assert unetzoo.from_pretrained(tmp_path).num_classes == 1


def test_revision_token_and_subfolder_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(num_classes=4).save_pretrained(tmp_path / "deep" / "down")
    asked: list[dict[str, object]] = []

    def snapshot(repo_id: str, **options: object) -> str:
        asked.append(options)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model = unetzoo.from_pretrained("user/model", revision="v2", token="secret", subfolder="deep/down")
    assert model.num_classes == 4
    patterns = ["deep/down/config.json", "deep/down/model.safetensors"]
    assert asked == [{"revision": "v2", "token": "secret", "allow_patterns": patterns}]
    assert unetzoo.from_pretrained(tmp_path, subfolder="deep/down").num_classes == 4
    with pytest.raises(CheckpointError, match="revision='v2' is for hub repositories"):
        unetzoo.from_pretrained(tmp_path, revision="v2")


class Hub:
    """A hub of one folder for each branch of each repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, dict[str, object]]] = []

    def __call__(self, token: object) -> Hub:
        self.calls.append(("token", {"token": token}))
        return self

    def create_repo(self, repo_id: str, **options: object) -> None:
        self.calls.append(("repo", options))

    def create_branch(self, repo_id: str, *, branch: str, exist_ok: bool) -> None:
        self.calls.append(("branch", {"branch": branch}))

    def upload_folder(self, *, repo_id: str, folder_path: str, revision: str | None, **options: object) -> str:
        if repo_id == "user/refused":
            raise OSError("403 Forbidden")
        shutil.copytree(folder_path, self.root / repo_id / (revision or "main"))
        self.calls.append(("upload", {"message": options["commit_message"]}))
        return f"hub/{repo_id}"


def test_a_model_is_uploaded_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    model = tiny(num_classes=3).eval()
    model.preprocessing = Preprocessing(channels="rgb")
    address = model.push_to_hub("user/roads", token="secret", private=True, revision="v2", commit_message="Roads")
    assert address == "hub/user/roads"
    assert hub.calls == [
        ("token", {"token": "secret"}),
        ("repo", {"private": True, "exist_ok": True}),
        ("branch", {"branch": "v2"}),
        ("upload", {"message": "Roads"}),
    ]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, *, revision, **_: tmp_path / repo / revision)
    again = unetzoo.from_pretrained("user/roads", revision="v2")
    assert again.preprocessing == model.preprocessing
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), model(x))
    with pytest.raises(CheckpointError, match="'user/refused' cannot be uploaded to the hub: 403 Forbidden"):
        model.push_to_hub("user/refused")


def test_a_config_that_asks_for_too_many_parameters_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    unetzoo.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="parameters; expected at most 100. .* raise max_parameters"):
        unetzoo.from_pretrained(tmp_path, max_parameters=100)
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"]["channels"] = [10**6, 10**6]  # 72 TB
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="expected at most 10,000,000,000"):
        unetzoo.from_pretrained(tmp_path)


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_of_a_wrapped_model_the_one_inside_is_saved(wrap: object, tmp_path: Path) -> None:
    model = tiny()
    unetzoo.save_pretrained(wrap(model), tmp_path)  # type: ignore[operator]
    assert unetzoo.from_pretrained(tmp_path).state_dict().keys() == model.state_dict().keys()


def test_a_module_that_create_did_not_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Linear is no model that unetzoo\.create made"):
        unetzoo.save_pretrained(torch.nn.Linear(1, 1), tmp_path)


class Tied(DenseModel):
    """Two convolutions of one weight."""

    def __init__(self, in_channels: int, num_classes: int, *, ndim: int) -> None:
        super().__init__(in_channels=in_channels, num_classes=num_classes, ndim=ndim)
        self.one = torch.nn.Conv2d(in_channels, num_classes, 1)
        self.two = torch.nn.Conv2d(in_channels, num_classes, 1)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + self.two(x)


def test_tied_weights_are_saved_once_and_come_back_tied(tmp_path: Path, clean_registry: None) -> None:
    unetzoo.register("model", "tied", Tied)
    model = unetzoo.create("tied", num_classes=3)
    unetzoo.save_pretrained(model, tmp_path)
    assert "two.weight" not in safetensors.torch.load_file(tmp_path / "model.safetensors")
    again = unetzoo.from_pretrained(tmp_path)
    assert again.two.weight is again.one.weight
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(again(x), model.eval()(x))


def test_weights_are_those_of_the_file_whatever_becomes_of_the_model(tmp_path: Path) -> None:
    unetzoo.save_pretrained(tiny(), tmp_path)
    model, other = (unetzoo.from_pretrained(tmp_path) for _ in range(2))
    before = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not any((parameter == 7).any() for parameter in other.parameters())
    model.save_pretrained(tmp_path)  # over the file that both are mapped from
    assert torch.equal(next(unetzoo.from_pretrained(tmp_path).parameters()), next(model.parameters()))
