"""Distributed training: replicas in several processes finish every step, and stay the same."""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from pickle import PicklingError

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unetzoo.conformance.definition.check import BACKWARD, GATES, check
from unetzoo.conformance.definition.context import Context
from unetzoo.conformance.definition.outcomes import CheckFailed, Measurement, Unavailable, agree, expect, worst
from unetzoo.conformance.measuring.stochastic import without_dropout
from unetzoo.conformance.measuring.tracing import blame, brief, listing

_PATIENCE = 120.0  # seconds after which a silent process counts as no evidence
_Report = dict[str, Tensor]
_Rank = Callable[[Context, int, int], _Report]


@check(requires=BACKWARD, cost="slow")
def check_ddp(ctx: Context) -> Measurement:
    """Two DistributedDataParallel processes train without `find_unused_parameters` and stay equal.

    A parameter that one step leaves unused, for good or by chance, stops the reducer; one that forward changes itself
    drifts apart between the replicas.
    """
    if not (dist.is_available() and dist.is_gloo_available()):
        raise Unavailable("needs torch.distributed with gloo")
    reports, errors = _launch(ctx, _train_replica, world_size=2)
    # The other process only hears that the connection is lost: the reducer's own words are the evidence.
    reasons = [e for e in errors if not any(word in e.lower() for word in ("connection", "timed out", "peer"))]
    expect(
        not reasons,
        f"DistributedDataParallel failed: {brief(reasons[0], 250) if reasons else ''}. Forward must use every "
        "parameter in every step, once: check_param_grads names those it does not",
    )
    if errors or len(reports) < 2:
        raise Unavailable(f"the processes gave no result: {'; '.join(errors) or 'timed out'}")
    differing = [n for n, t in reports[0].items() if not torch.equal(t, reports[1][n])]
    expect(
        not differing,
        f"after 8 steps the replicas differ in {listing(differing)}. Forward or a hook changes these, or the reducer "
        "did not know them when the network was wrapped",
        len(differing),
        0,
    )
    return Measurement(0, 0)


def _train_replica(ctx: Context, rank: int, world_size: int) -> _Report:
    """Eight training steps of one replica, each on data and random numbers of its own; its parameters then."""
    model = nn.parallel.DistributedDataParallel(ctx.train_model(dtype=torch.float32))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    torch.manual_seed(1000 + rank)
    random.seed(1000 + rank)
    for step in range(8):
        optimizer.zero_grad()
        x = ctx.input(dtype=torch.float32, seed=world_size * step + rank)
        ctx.loss(ctx.outputs(model, x), seed=step).backward()
        optimizer.step()
    return {n: p.detach() for n, p in model.module.named_parameters()}


@check(requires=GATES, devices="both", level="should", cost="slow")
def check_sync_bn(ctx: Context) -> Measurement | None:
    """SyncBatchNorm keeps the eval outputs; on CUDA, two processes match one on the joint batch.

    The conversion replaces every subclass of BatchNorm by the plain one, and loses what it did besides.
    """
    model = ctx.eval_model()
    ctx.require(
        any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()), "the network has no BatchNorm"
    )
    x = ctx.input()
    with torch.no_grad():
        with blame("torch.nn.SyncBatchNorm.convert_sync_batchnorm"):
            converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
        with blame("an eval forward after convert_sync_batchnorm"):
            out = ctx.output(converted, x)
        hint = "A subclass of BatchNorm does more than BatchNorm, which the conversion drops"
        found = [agree(out, ctx.output(model, x), 1e-9, "the eval output after convert_sync_batchnorm", hint)]
    if ctx.device.type == "cuda":
        reports, errors = _launch(ctx, _sync_replica, world_size=2)
        if errors or len(reports) < 2:
            raise CheckFailed(
                f"training with SyncBatchNorm in two processes failed: {'; '.join(errors) or 'timed out'}"
            )
        joint = without_dropout(ctx.train_model())
        with torch.no_grad():
            whole = ctx.output(joint, ctx.input(batch=4)).cpu()
        parts = torch.cat([report["output"] for report in reports])
        found.append(
            agree(parts, whole, 1e-9, "the train output of two SyncBatchNorm processes against the joint batch")
        )
    return worst(found)


def _sync_replica(ctx: Context, rank: int, world_size: int) -> _Report:
    """The train output for this process's half of a batch of four."""
    model = without_dropout(nn.SyncBatchNorm.convert_sync_batchnorm(ctx.train_model()))
    with torch.no_grad():
        return {"output": ctx.output(model, ctx.input(batch=4).chunk(world_size)[rank])}


def _launch(ctx: Context, work: _Rank, world_size: int) -> tuple[list[_Report], list[str]]:
    """Run `work` in processes of one group; what those that finished report, and the errors of the others."""
    # A fork is quick and needs nothing pickled, but CUDA's and autograd's threads do not survive one.
    method = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"
    if multiprocessing.current_process().daemon:
        raise Unavailable("needs processes, which a daemonic one may not start")
    context = multiprocessing.get_context(method)
    processes = []
    for rank in range(world_size):
        process = context.Process(target=_run_rank, args=(ctx, work, rank, world_size), daemon=True)  # type: ignore[attr-defined]
        try:
            process.start()
        except (PicklingError, AttributeError, TypeError) as error:
            raise Unavailable(f"the network cannot be sent to another process: {brief(error)}") from error
        processes.append(process)
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    reports: list[_Report] = []
    errors: list[str] = []
    for rank in range(world_size):
        path = _report_path(ctx, rank)
        if path.exists():
            report = torch.load(path, weights_only=True)
            if isinstance(report, str):
                errors.append(report)
            else:
                reports.append(report)
    return reports, errors


def _report_path(ctx: Context, rank: int) -> Path:
    return ctx.tmp_path / f"rank{rank}.pt"


def _run_rank(ctx: Context, work: _Rank, rank: int, world_size: int) -> None:
    """Body of a process: join the group, work, and leave a report, or the text of the error."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    report: _Report | str
    try:
        store = dist.FileStore(str(ctx.tmp_path / "store"), world_size)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
        report = {n: t.cpu() for n, t in work(ctx, rank, world_size).items()}
        dist.barrier()
    except Exception as error:  # sent to the parent as text: it judges what the error says
        report = brief(f"{type(error).__name__}: {error}", 800)
    temporary = _report_path(ctx, rank).with_suffix(".tmp")
    torch.save(report, temporary)
    os.replace(temporary, _report_path(ctx, rank))
