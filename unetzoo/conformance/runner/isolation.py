"""Runs a session in a process of its own, so that a hang, a crash or exhausted memory costs one check, not the run."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pickle import PicklingError

from unetzoo.capabilities import Capabilities
from unetzoo.conformance.checks import all_checks
from unetzoo.conformance.definition.check import GATES
from unetzoo.conformance.measuring.probing import default_size
from unetzoo.conformance.reports.results import Result
from unetzoo.conformance.runner.execution import judged, outcome, run
from unetzoo.conformance.runner.session import Session
from unetzoo.errors import ConfigError

PROBE_TIMEOUT = 600.0


def _worker(connection: Connection, session: Session, memory_limit: float | None) -> None:
    """Send None for a sign of life, the capabilities, then the results, each as it comes."""
    connection.send(None)
    limit_memory(memory_limit)
    for item in run(session):
        connection.send(item)
    connection.close()


def limit_memory(gigabytes: float | None) -> None:
    """Make allocations beyond the limit fail in this process, where the system can do so."""
    if gigabytes is None:
        return
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30), hard))


def run_isolated(session: Session, memory_limit: float | None = None) -> Iterator[Capabilities | Result]:
    """As `suite.run`, in a fresh process that is replaced when a check kills it or runs out of time.

    `memory_limit` in GiB of private memory. Raises ConfigError for a builder that cannot be sent to a process.
    """
    registered = {c.id: c for c in all_checks()}
    remaining = list(session.checks)
    known: Capabilities | None = None
    while remaining:
        session = replace(session, checks=tuple(remaining))
        death = ""
        process, connection = _start(session, memory_limit)
        try:
            _await_life(session, process, connection)
            while remaining:
                limit = registered[remaining[0]].timeout if known is not None else PROBE_TIMEOUT
                started = time.perf_counter()
                if not connection.poll(limit):
                    death = f"hung: no result within {limit:.0f} s; the process was stopped"
                    break
                try:
                    item = connection.recv()
                except EOFError:
                    process.join(10)
                    death = _cause(process)
                    break
                if isinstance(item, Capabilities):
                    if known is None:
                        known = item
                        session = replace(session, capabilities=known, size=session.size or default_size(known))
                        yield known
                    continue
                remaining.pop(0)
                session = session.after(item)
                yield item
        finally:
            process.kill()
            process.join()
            connection.close()
        if death:
            seconds = time.perf_counter() - started
            check = registered[remaining.pop(0)]
            message = f"while its capabilities were probed: {death}" if known is None else death
            result = judged(session, check, outcome(check, "failed", message=message, seconds=seconds))
            session = session.after(result)
            if known is None:
                known = Capabilities()
                session = replace(session, capabilities=known, size=default_size(known), failed=frozenset(GATES))
                yield known
            yield result


def _start(session: Session, memory_limit: float | None) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(sender, session, memory_limit), daemon=False)
    try:
        process.start()
    except (PicklingError, AttributeError, TypeError, AssertionError) as error:  # the last in a daemonic process
        raise ConfigError(
            f"{session.subject.name} cannot be sent to another process ({error}): "
            "give a builder that can be imported, or isolate=False"
        ) from error
    sender.close()
    return process, receiver


def _await_life(session: Session, process: BaseProcess, connection: Connection) -> None:
    """Wait until the process has received its session. Raises ConfigError if it cannot import the builder."""
    try:
        connection.recv()
    except EOFError:
        process.join(10)
        raise ConfigError(
            f"{session.subject.name} cannot be imported in another process, which {_cause(process)}: give a "
            "builder of a "
            "module on sys.path, or isolate=False"
        ) from None


def _cause(process: BaseProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"crashed the interpreter: {name}{memory}"
    return f"ended the interpreter with exit code {code}"
