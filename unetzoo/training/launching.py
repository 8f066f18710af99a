"""What accelerate is asked for, and launches that would not do what they seem to."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType

from unetzoo.errors import ConfigError
from unetzoo.training.recipe import Recipe

REPLICATED = {name for name in DistributedType if name.value == "NO" or name.value.startswith("MULTI_")}


def make_accelerator(recipe: Recipe, *, precision: str | None, cpu: bool) -> Accelerator:
    """Return the accelerator of this process, as launched.

    Raises `ConfigError` for a launch that shards the parameters in another way than FSDP's second version, or that the
    recipe does not go with, and for one that was to have several processes on the CPU but has started only this one.
    """
    accelerator = Accelerator(
        gradient_accumulation_steps=recipe.accumulate,
        mixed_precision=precision,
        cpu=cpu,
        # Parameters of an encoder that is frozen at first have no gradient in these steps.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=recipe.freeze_encoder_epochs > 0)],
    )
    if accelerator.is_fsdp2:
        _set_up_sharding(accelerator, recipe)
    elif accelerator.distributed_type not in REPLICATED:
        raise ConfigError(
            f"launched for {accelerator.distributed_type.value}, which networks are not trained with here; shard them "
            "by `accelerate launch --use_fsdp --fsdp_version 2`, or launch without, so that every process holds the "
            "network"
        )
    # accelerate sets the address for the processes that it knows of; without MPI it starts one of them.
    if accelerator.num_processes == 1 and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            "`accelerate launch --cpu` has started one process of several, as it does without MPI; give it "
            "`--mpirun_hostfile FILE` where MPI is installed, or use `torchrun --nproc_per_node N -m unetzoo train ... "
            "--cpu` or `accelerate launch --multi_gpu --num_processes N -m unetzoo train ... --cpu`"
        )
    return accelerator


def _set_up_sharding(accelerator: Accelerator, recipe: Recipe) -> None:
    if recipe.freeze_encoder_epochs:
        raise ConfigError(
            f"freeze_encoder_epochs is {recipe.freeze_encoder_epochs}: parameters that are sharded (FSDP) cannot be "
            "frozen for a time; set it to 0, or launch without FSDP"
        )
    plugin = accelerator.state.fsdp_plugin
    # Each process makes the same network, and accelerate's way to send it from the first knows of no buffers.
    plugin.cpu_ram_efficient_loading = False
    # Autocast keeps normalization in float32 beside its statistics; parameters gathered in half precision would not be.
    plugin.mixed_precision_policy = None
