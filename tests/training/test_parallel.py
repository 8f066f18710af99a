"""Several processes train as one with their whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType

from unetzoo.errors import ConfigError
from unetzoo.pretrained import from_pretrained
from unetzoo.training import launching
from unetzoo.training.loop import train
from unetzoo.training.recipe import read_recipe
from unetzoo.training.runs import RunFolder

BATCH_NORM = {"name": "double_conv", "norm": "batch"}
# Open MPI is found beside the interpreter, and does not run for root unless told twice.
FOR_MPI = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
# accelerate shards on accelerators alone; here it is made to take the processes of the CPU for such.
SHARDED = """
import torch
import sys
from pathlib import Path
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from unetzoo.training import launching, read_recipe, train
from unetzoo.training.learner import Learner

def sharding(**options):
    accelerator = Accelerator(**options)
    PartialState._shared_state["distributed_type"] = accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", transformer_cls_names_to_wrap=["EncoderStage"]
    )
    return accelerator

def interrupted(self, number, batches):
    if number == 3:
        assert all(hasattr(parameter, "to_local") for parameter in self.network.parameters())
        assert all(hasattr(parameter, "to_local") for parameter in self.average.parameters())
        raise KeyboardInterrupt
    return step(self, number, batches)

launching.Accelerator = sharding
step, Learner.step = Learner.step, interrupted
recipe, out = read_recipe(Path(sys.argv[1])), Path(sys.argv[2])
try:
    train(recipe, out, cpu=True)
except KeyboardInterrupt:
    Learner.step = step
train(recipe, out, cpu=True, resume=True)
torch.distributed.destroy_process_group()  # its threads would end the process by an abort
"""


@pytest.mark.parametrize(
    "launch", ["--cpu --num_processes 2 --mpirun_hostfile {hosts}", "--multi_gpu --num_processes 2"]
)
def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, launch: str
) -> None:
    # Every sample has another share of ignored pixels; Dice and Lovasz are no means over pixels.
    network = {"name": "unet", "encoder": {"name": "conv", "channels": [4, 8]}, "block": BATCH_NORM}
    recipe = nuclei_recipe(
        model=network,
        augment={"affine": {"degrees": 45, "translate": 0.4}, "color": {"noise": 0.1}},
        loss={"cross_entropy": {"class_weights": [1, 2, 3]}, "dice": 1, "lovasz": 1},
        freeze_encoder_epochs=1,
    )
    hosts, out = tmp_path / "hosts", tmp_path / "two"
    hosts.write_text("localhost slots=2", encoding="utf-8")
    options = f"{launch.format(hosts=hosts)} --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    run("accelerate.commands.launch", *options, "-m", "unetzoo", "train", str(recipe), "--out", str(out), "--cpu")
    train(read_recipe(recipe, {"batch_size": 4}), tmp_path / "one")
    assert [row["step"] for row in RunFolder(out).rows()] == [1, 2, 2, 3, 4, 4]
    assert_alike(out, tmp_path / "one")


def test_two_processes_that_share_out_the_parameters_do_too_and_are_resumed(
    nuclei_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    network = {"name": "unet", "encoder": {"name": "conv", "channels": [4, 8]}, "block": BATCH_NORM}
    recipe = nuclei_recipe(
        model=network, accumulate=2, clip=1.0, ema=0.9, channels_last=True, batch_size=1, checkpoint_every=3
    )
    script, out = tmp_path / "sharded.py", tmp_path / "two"
    script.write_text(SHARDED, encoding="utf-8")
    run("torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script), str(recipe), str(out))
    train(read_recipe(recipe, {"batch_size": 2}), tmp_path / "one")
    assert_alike(out, tmp_path / "one")
    alone, together = from_pretrained(tmp_path / "one" / "model"), from_pretrained(out / "model")
    for name, weights in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], weights, msg=name)


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        (DistributedType.DEEPSPEED, {}, "launched for DEEPSPEED.*--fsdp_version 2"),
        (DistributedType.FSDP, {}, "launched for FSDP.*--fsdp_version 2"),
        (DistributedType.FSDP, {"freeze_encoder_epochs": 2}, "freeze_encoder_epochs is 2.*cannot be frozen"),
    ],
)
def test_a_launch_that_shards_in_a_way_that_cannot_be_trained_is_refused(
    nuclei_recipe: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: DistributedType,
    changes: dict[str, object],
    told: str,
) -> None:
    launched = SimpleNamespace(distributed_type=kind, is_fsdp2=bool(changes))
    monkeypatch.setattr(launching, "Accelerator", lambda **_: launched)
    with pytest.raises(ConfigError, match=told):
        train(read_recipe(nuclei_recipe(**changes)), tmp_path / "run")


def run(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **FOR_MPI, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def assert_alike(out: Path, other: Path) -> None:
    """Both runs have the same rows of losses, rates, gradient norms and scores, to rounding."""
    for row, expected in zip(RunFolder(out).rows(), RunFolder(other).rows(), strict=True):
        del row["iou" if "iou" in row else "epoch"], expected["iou" if "iou" in expected else "epoch"]
        assert row == pytest.approx(expected, rel=2e-6)


def test_a_launch_that_starts_one_process_of_several_is_refused(
    nuclei_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `accelerate launch --cpu --num_processes 2` gives the one process that it starts.
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(ConfigError, match="one process of several"):
        train(read_recipe(nuclei_recipe()), tmp_path / "run")
    assert not (tmp_path / "run").exists()
