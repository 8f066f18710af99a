"""Loading weights completely or not at all."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

import unetzoo
from unetzoo import CheckpointError, DenseModel
from unetzoo.card import Checkpoint
from unetzoo.checkpoints.loading import download

CONFIG = {
    "encoder": {"name": "conv", "channels": [4, 8]},
    "decoder": {"name": "unet"},
    "head": {"name": "conv"},
    "layouts": {
        "authors": {"down{0,1}": "encoder.stages.{0,1}", "up": "decoder.stages.0", "out": "head.convs.0", "junk": None}
    },
}


def make(**overrides: object) -> DenseModel:
    return unetzoo.create({**CONFIG, **overrides})


def authors_keys(model: DenseModel) -> dict[str, torch.Tensor]:
    names = {"encoder.stages.": "down", "decoder.stages.0": "up", "head.convs.0": "out"}
    state = {}
    for key, tensor in model.state_dict().items():
        for ours, theirs in names.items():
            if key.startswith(ours):
                state[theirs + key.removeprefix(ours)] = tensor
    return state


def same(a: DenseModel, b: DenseModel) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_our_own_keys_load() -> None:
    source, target = make(), make()
    loaded = unetzoo.load_checkpoint(target, source.state_dict())
    assert same(source, target)
    assert loaded.layout == "unetzoo"
    assert set(loaded.matched) == set(source.state_dict())


def test_the_authors_keys_load_through_the_configs_table_and_what_was_dropped_is_told() -> None:
    source, target = make(), make()
    loaded = unetzoo.load_checkpoint(target, {**authors_keys(source), "junk.x": torch.ones(1)})
    assert same(source, target)
    assert (loaded.layout, loaded.dropped) == ("authors", ("junk.x",))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "network_weights", "model"])
def test_a_training_snapshot_of_a_parallel_model_loads(tmp_path: Path, wrapper: str) -> None:
    source, target = make(), make()
    state = {f"module.{key}": tensor for key, tensor in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3, "best": 0.5}, tmp_path / "snapshot.pth")
    unetzoo.load_checkpoint(target, tmp_path / "snapshot.pth")
    assert same(source, target)


def test_a_safetensors_file_loads(tmp_path: Path) -> None:
    source, target = make(), make()
    safetensors.torch.save_file(source.state_dict(), tmp_path / "weights.safetensors")
    unetzoo.load_checkpoint(target, str(tmp_path / "weights.safetensors"))
    assert same(source, target)


def test_a_checkpoint_from_before_batch_counters_loads() -> None:
    source, target = make(), make()
    state = {key: tensor for key, tensor in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    unetzoo.load_checkpoint(target, state)
    assert same(source, target)


def test_what_is_missing_left_over_or_of_another_shape_is_listed_and_nothing_is_loaded() -> None:
    source, target = make(), make()
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    state = dict(source.state_dict())
    del state["encoder.stages.0.block.0.conv.weight"]
    state["foreign.weight"] = torch.ones(2)
    state["head.convs.0.weight"] = torch.ones(9, 4, 1, 1)
    with pytest.raises(CheckpointError) as caught:
        unetzoo.load_checkpoint(target, state)
    text = str(caught.value)
    assert "missing: encoder.stages.0.block.0.conv.weight" in text
    assert "left over: foreign.weight" in text
    assert "wrong shape: head.convs.0.weight is [9, 4, 1, 1], head.convs.0.weight is [1, 4, 1, 1]" in text
    assert all(torch.equal(before[key], tensor) for key, tensor in target.state_dict().items())


def test_skip_leaves_a_head_of_other_classes_alone() -> None:
    source, target = make(num_classes=4), make(num_classes=2)
    head = target.head.convs[0].weight.clone()
    loaded = unetzoo.load_checkpoint(target, source.state_dict(), skip=["head.*"])
    assert torch.equal(target.head.convs[0].weight, head)
    assert torch.equal(target.encoder.stages[0].block[0].conv.weight, source.encoder.stages[0].block[0].conv.weight)
    assert set(loaded.skipped) == {"head.convs.0.weight", "head.convs.0.bias"}


def test_one_tensor_under_two_names_loads_if_the_copies_agree_and_is_refused_if_not() -> None:
    table = {**CONFIG["layouts"]["authors"], "copy": "head.convs.0"}
    source, target = make(), make(layouts={"authors": table})
    state = authors_keys(source)
    state |= {"copy.weight": state["out.weight"].clone(), "copy.bias": state["out.bias"].clone()}
    unetzoo.load_checkpoint(target, state)
    assert same(source, target)
    state["copy.bias"] = state["out.bias"] + 1
    with pytest.raises(CheckpointError, match="contradiction: copy.bias"):
        unetzoo.load_checkpoint(target, state)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with (tmp_path / "evil.pth").open("wb") as file:
        pickle.dump({"state_dict": Evil(mark)}, file)
    with pytest.raises(CheckpointError, match="cannot be read as weights without running code"):
        unetzoo.load_checkpoint(make(), tmp_path / "evil.pth")
    torch.save({"state_dict": Evil(mark)}, tmp_path / "evil2.pth")
    with pytest.raises(CheckpointError, match="without running code"):
        unetzoo.load_checkpoint(make(), tmp_path / "evil2.pth")
    assert not mark.exists()


@pytest.mark.parametrize(("name", "content"), [("a.pth", b""), ("a.pth", b"garbage"), ("a.safetensors", b"garbage")])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        unetzoo.load_checkpoint(make(), tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        unetzoo.load_checkpoint(make(), tmp_path / "none.pth")


def test_a_mapping_without_tensors_is_refused() -> None:
    with pytest.raises(CheckpointError, match="holds no tensors; its keys are epoch"):
        unetzoo.load_checkpoint(make(), {"epoch": 3})


def test_create_loads_a_local_checkpoint(tmp_path: Path) -> None:
    source = make()
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    assert same(unetzoo.create(CONFIG, checkpoint=tmp_path / "weights.pth"), source)
    with pytest.raises(CheckpointError, match=r"'official' is neither a file nor a checkpoint of .* \(it has: none\)"):
        unetzoo.create(CONFIG, checkpoint="official")


def test_the_folder_of_a_saved_model_is_a_checkpoint(tmp_path: Path) -> None:
    source = make()
    source.save_pretrained(tmp_path)
    assert same(unetzoo.create(CONFIG, checkpoint=tmp_path), source)
    target = make()
    unetzoo.load_checkpoint(target, str(tmp_path))
    assert same(target, source)


def test_a_published_checkpoint_is_fetched_once_and_its_hash_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make()
    torch.save(source.state_dict(), tmp_path / "published.pth")
    digest = hashlib.sha256((tmp_path / "published.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    url = (tmp_path / "published.pth").as_uri()
    card = {"checkpoints": {"official": {"url": url, "sha256": digest}}}
    assert same(unetzoo.create({**CONFIG, "card": card}, checkpoint="official"), source)
    assert same(unetzoo.create({**CONFIG, "card": card}, pretrained=True), source)
    named = {"checkpoints": {"cells": card["checkpoints"]["official"]}}
    assert same(unetzoo.create({**CONFIG, "card": named}, checkpoint="official"), source)
    (tmp_path / "published.pth").unlink()
    assert download(Checkpoint(url=url, sha256=digest)).is_file(), "the second time no download is needed"
    with pytest.raises(CheckpointError, match=f"the SHA-256 is {digest}; expected {'0' * 64}"):
        download(Checkpoint(url=url, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="cannot be downloaded.*fetch it by hand"):
        download(Checkpoint(url=url, sha256=digest))


def test_files_of_one_name_at_two_addresses_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "best.pth").write_text(folder)
    urls = [(tmp_path / folder / "best.pth").as_uri() for folder in ("one", "two")]
    assert [download(Checkpoint(url=url)).read_text() for url in urls] == ["one", "two"]


def test_one_pattern_to_skip_is_as_good_as_a_list_of_it() -> None:
    model, other = (unetzoo.create("unet", num_classes=n, encoder={"channels": [4, 8]}) for n in (2, 5))
    loaded = unetzoo.load_checkpoint(model, other.state_dict(), skip="head.*")
    assert len(loaded.matched) + len(loaded.skipped) == len(other.state_dict())
    assert torch.equal(next(model.encoder.parameters()), next(other.encoder.parameters()))


def test_an_md5_is_checked_where_no_better_hash_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "best.pth").write_text("weights")
    url = (tmp_path / "best.pth").as_uri()
    assert download(Checkpoint(url=url, md5=hashlib.md5(b"weights").hexdigest())).is_file()
    with pytest.raises(CheckpointError, match=f"the MD5 is .*; expected {'0' * 32}"):
        download(Checkpoint(url=url, md5="0" * 32))


BESIDE = {
    "trained_on": "roads",
    "license": "MIT",
    "preprocessing": {"channels": "bgr", "input_range": [-1.6, 1.6]},
    "classes": {"names": ["background", "road"]},
}


def test_a_model_takes_over_what_is_known_of_its_published_weights(tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "log01.th")
    by_name = {"roads": {"url": (tmp_path / "log01.th").as_uri(), **BESIDE}}
    by_file = {"roads": {"url": "https://example.org/folder", "manual": True, "file": "log01.th", **BESIDE}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        downloaded = unetzoo.create({**CONFIG, "card": {"checkpoints": by_name}}, checkpoint="official")
    local = unetzoo.create({**CONFIG, "card": {"checkpoints": by_file}}, checkpoint=tmp_path / "log01.th")
    for model in (downloaded, local):
        assert model.preprocessing == unetzoo.Preprocessing(channels="bgr", input_range=(-1.6, 1.6))
        assert model.classes is not None
        assert model.classes.names == ("background", "road")
        assert model.provenance is not None
        assert (model.provenance.trained_on, model.provenance.weights) == ("roads", "roads")
    other = tmp_path / "other.th"
    other.write_bytes((tmp_path / "log01.th").read_bytes())
    assert unetzoo.create({**CONFIG, "card": {"checkpoints": by_file}}, checkpoint=other).preprocessing is None


def test_what_must_be_fetched_by_hand_is_neither_downloaded_nor_listed_as_pretrained() -> None:
    with pytest.raises(CheckpointError, match=r"is a folder.*take log01_dink34.th out of it.*checkpoint='log01_dink"):
        unetzoo.create("dlinknet34", checkpoint="deepglobe")
    assert "dlinknet34" not in unetzoo.list_models(pretrained=True)
    assert "u2net" in unetzoo.list_models(pretrained=True)


def test_every_published_checkpoint_says_how_its_images_are_prepared() -> None:
    for name in unetzoo.list_models():
        card = unetzoo.info(name)
        for key, checkpoint in card.checkpoints.items():
            assert checkpoint.preprocessing is not None, (name, key)
            figures = checkpoint.preprocessing.mean
            assert figures is None or len(figures) == checkpoint.in_channels
            assert checkpoint.classes is None or checkpoint.classes.fit(checkpoint.num_classes), (name, key)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "a.b.c."])
def test_a_prefix_that_all_keys_share_is_removed(prefix: str) -> None:
    source, target = make(), make()
    unetzoo.load_checkpoint(target, {f"{prefix}{key}": tensor for key, tensor in source.state_dict().items()})
    assert same(source, target)
    unetzoo.load_checkpoint(target, {f"{prefix}{key}": tensor for key, tensor in authors_keys(make()).items()})
    assert not same(source, target)


def test_a_moving_average_is_loaded_in_place_of_the_last_weights() -> None:
    last, target = make(), make()
    average = torch.optim.swa_utils.AveragedModel(make())
    unetzoo.load_checkpoint(target, {"state_dict": last.state_dict(), "state_dict_ema": average.state_dict()})
    assert same(average.module, target)


def test_a_model_on_the_meta_device_takes_the_tensors_themselves_in_its_own_type() -> None:
    source = make()
    with torch.device("meta"):
        target = make()
    state = {key: t.double() for key, t in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    unetzoo.load_checkpoint(target, state)
    assert same(source, target)
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in target.parameters())
