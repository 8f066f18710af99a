"""What the suite and the golden tests say on a CUDA device: writes a page of docs/reports.

    python -m benchmarks.cuda_report OUTCOMES.jsonl [--only PATTERN ...] [--jobs 12] [--deadline 1200] [--remark TEXT]

Run from the root, with the extras ``unetzoo[all,test]``. Held to the CUDA checks are all named models and adapters,
narrowed as in the tests, in all their dimensions, and the named models at their own widths; they and the suite's sound
networks to every fast check that means something else on a device; a spread of models to the slow ones too. Each
planted defect that only CUDA shows must be caught, and the golden numbers be met. What is not done by the deadline, in
seconds, is named on the page as not run; started again with the same file, the script goes on with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as NoResultYet
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

import torch

import unetzoo
from tests.conformance.controls import CONTROLS
from tests.conformance.planting import all_planted
from tests.conformance.test_zoo import FULL
from tests.conformance.zoo import EVERY, examine
from tests.golden.rows import rows
from unetzoo.conformance import Report, all_checks, check_model
from unetzoo.conformance.definition.check import GATES
from unetzoo.conformance.measuring.sandbox import set_tf32
from unetzoo.files import write_text

PATIENCE = 900  # seconds for one item
OUT = Path(__file__).parents[1] / "docs" / "reports"
# In the order in which they are run: the longest first, lest one of them be waited for in the end.
KINDS = {
    "full": "A spread of networks, narrowed, fast and slow checks",
    "planted": "Planted defects that only CUDA shows",
    "golden": "Agreement with the authors' numbers",
    "cuda": "Every network, narrowed, CUDA checks",
    "width": "Named models at their own widths, CUDA checks",
    "network": "Networks, narrowed, fast checks",
    "control": "The suite's sound networks, fast checks",
}


@dataclass(frozen=True)
class Item:
    """One thing to run: its kind, what it is called on the page, and where it is found."""

    kind: str
    name: str
    ndim: int = 2
    index: int = 0


@dataclass
class Outcome:
    """What came of an item: figures for its row, and what failed with the reason."""

    item: Item
    ok: bool
    seconds: float
    cells: tuple[str, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)


def items() -> list[Item]:
    """Everything there is to run."""
    flat_first = sorted(EVERY, key=lambda case: case[1])
    planted = [(i, defect) for i, defect in enumerate(all_planted()) if defect.device == "cuda"]
    return [
        *(Item("full", *case) for case in FULL),
        *(Item("planted", defect.id, index=index) for index, defect in planted),
        *(Item("golden", row.id, index=index) for index, row in enumerate(rows())),
        *(Item("cuda", *case) for case in flat_first),
        *(Item("width", name, min(unetzoo.info(name).ndim)) for name in unetzoo.list_models()),
        *(Item("network", *case) for case in flat_first if case not in FULL),
        *(Item("control", build.__name__, index=index) for index, build in enumerate(CONTROLS)),
    ]


def run(item: Item) -> Outcome:
    """Run one item; an error of the run itself is told as its failure."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    try:
        outcome = {"golden": _golden, "planted": _planted}.get(item.kind, _suite)(item)
    except Exception as error:  # whatever it is belongs on the page, beside what the others gave
        outcome = Outcome(item, False, 0.0, failures={"run": f"{type(error).__name__}: {error}"})
    outcome.seconds = time.perf_counter() - start
    torch.cuda.empty_cache()
    return outcome


def _suite(item: Item) -> Outcome:
    """A network under the suite."""
    fast = [check.id for check in all_checks() if "cuda" in check.profiles and check.cost == "fast"]
    cuda = [check.id for check in all_checks() if check.devices == "cuda" or check.id in (*GATES, "check_autocast")]
    if item.kind == "control":
        report = check_model(CONTROLS[item.index], device="cuda", checks=fast)
    elif item.kind == "width":
        report = check_model(item.name, ndim=item.ndim, device="cuda", checks=cuda)
    else:
        checks = cuda if item.kind == "cuda" else None
        report = examine(item.name, item.ndim, slow=item.kind == "full", device="cuda", checks=checks)
    statuses = [result.status for result in report.results]
    counts = (str(statuses.count(status)) for status in ("passed", "expected_failure", "skipped"))
    cells = (*counts, _deviation(report))
    return Outcome(item, report.ok, 0.0, cells, {r.check: r.note for r in report.failures})


def _deviation(report: Report) -> str:
    """How far CUDA is from the CPU in float32: the figure that is nearest to its bound, and the bound."""
    found = [r for r in report.results if r.check == "check_cuda_matches_cpu" and r.measured is not None]
    return f"{found[0].measured:.1e} of {found[0].bound:.0e}" if found else ""


def _planted(item: Item) -> Outcome:
    """A planted defect, which its check must catch for the planted reason."""
    defect = all_planted()[item.index]
    report = check_model(defect.build, device="cuda", checks=[defect.check_id], capabilities=defect.capabilities)
    own = report[defect.check_id]
    caught = own.status in ("failed", "advice") and re.search(defect.because, own.message, re.DOTALL) is not None
    failures = {} if caught else {defect.check_id: f"{own.status}: {own.note}"}
    return Outcome(item, caught, 0.0, (own.note,), failures)


def _golden(item: Item) -> Outcome:
    """A network with the golden weights, in float32 without TF32, against its authors' numbers."""
    row = rows()[item.index]
    set_tf32(False)
    deviations = row.deviations(row.outputs(row.build().cuda()))
    far = {d.array: f"{max(d.points, d.statistics):.1e}, at most {d.atol:.1e}" for d in deviations}
    failures = {d.array: far[d.array] for d in deviations if not max(d.points, d.statistics) <= d.atol}
    return Outcome(item, not failures, 0.0, ("; ".join(far.values()),), failures)


def environment() -> dict[str, str]:
    """The machine and the versions of what is measured on it."""
    gpu = torch.cuda.get_device_properties(0)
    packages = ("timm", "segmentation_models_pytorch", "monai", "torchvision", "diffusers")
    return {
        "date": date.today().isoformat(),
        "gpu": gpu.name,
        "machine": f"one {gpu.name} ({gpu.total_memory / 2**30:.0f} GiB), {os.cpu_count()} CPU cores",
        "software": ", ".join(
            [
                f"Python {platform.python_version()}",
                f"torch {torch.__version__}",
                f"cuDNN {torch.backends.cudnn.version()}",
                *(f"{package} {_version(package)}" for package in packages),
            ]
        ),
    }


def page(place: Mapping[str, str], outcomes: Sequence[Outcome], missing: Sequence[Item], remark: str) -> str:
    """The page, in Markdown."""
    failed = [outcome for outcome in outcomes if not outcome.ok]
    lines = [
        f"# {place['gpu']}, {place['date']}",
        "",
        f"Generated by `python -m benchmarks.cuda_report` on {place['machine']}; {place['software']}.",
        "",
        f"{len(outcomes)} runs: {len(outcomes) - len(failed)} as they should be, {len(failed)} not.",
    ]
    if failed:
        lines += ["", "## Failures", ""]
        lines += [
            f"- {_called(outcome.item)} ({outcome.item.kind}), `{check}`: {_one_line(note)}"
            for outcome in failed
            for check, note in outcome.failures.items()
        ]
    lines += ["", remark] if remark else []
    lines += ["", "## Not run, for want of time", ""] if missing else []
    for kind, title in KINDS.items():
        names = [_called(item) for item in missing if item.kind == kind]
        lines += [f"- {title}: {', '.join(names)}."] if names else []
    for kind, title in KINDS.items():
        lines += _section(title, kind, [outcome for outcome in outcomes if outcome.item.kind == kind])
    return "\n".join(lines) + "\n"


def _called(item: Item) -> str:
    return f"{item.name} ({item.ndim}-D)" if item.kind in ("full", "cuda", "width", "network") else item.name


def _section(title: str, kind: str, outcomes: Sequence[Outcome]) -> Iterable[str]:
    head = {
        "planted": ("defect", "caught", "message"),
        "golden": ("network", "as the authors", "largest deviation, tolerance twenty times the reference's rounding"),
    }.get(kind, ("network", "ok", "passed", "expected failures", "skipped", "CUDA from CPU"))
    yield from ("", f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}")
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.item.name, outcome.item.ndim)):
        cells = [_called(outcome.item), "yes" if outcome.ok else "**no**", *map(_one_line, outcome.cells)]
        yield f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


class Worker:
    """A process that items are run in, one after the other; one that crashes it or hangs costs that item alone."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __call__(self, item: Item) -> Outcome:
        """Run the item."""
        try:
            return self._pool.submit(run, item).result(PATIENCE)
        except (BrokenProcessPool, NoResultYet) as error:
            for process in self._pool._processes.values():
                process.kill()
            self._start()
            what = "it crashed the interpreter" if isinstance(error, BrokenProcessPool) else f"no end in {PATIENCE} s"
            return Outcome(item, False, 0.0, failures={"run": what})


def work(waiting: deque[Item], until: float, note: Callable[[Outcome], None]) -> None:
    """Run what is waiting until nothing is left, or no time."""
    worker = Worker()
    with contextlib.suppress(IndexError):
        while time.monotonic() < until:
            note(worker(waiting.popleft()))


def show(outcome: Outcome) -> None:
    """Print an outcome as it comes."""
    item = outcome.item
    print("ok  " if outcome.ok else "FAIL", f"{outcome.seconds:6.1f} s  {item.kind}: {item.name} ({item.ndim}-D)")
    for check, note in outcome.failures.items():
        print(f"        {check}: {_one_line(note)[:400]}")
    sys.stdout.flush()


def read(path: Path) -> tuple[dict[str, str], list[Outcome]]:
    """Where the outcomes of a file come from, which is its first line, and these, a line each."""
    place, *outcomes = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return place, [Outcome(**{**data, "item": Item(**data["item"])}) for data in outcomes]


def add(path: Path, data: Mapping[str, object]) -> None:
    """Add a line to a file of outcomes."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path, help="file of JSON lines; what it holds already is not run again")
    parser.add_argument("--only", nargs="+", default=["*"], help="shell patterns of KIND:NAME; default: everything")
    parser.add_argument("--jobs", type=int, default=4, help="processes that share the device; default: %(default)s")
    parser.add_argument("--deadline", type=float, default=3600, help="seconds; 0 writes the page of what is there")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the page; default: docs/reports")
    parser.add_argument("--remark", default="", help="what is to be said of the failures")
    arguments = parser.parse_args()
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # there are processes enough
    if not arguments.outcomes.exists():
        add(arguments.outcomes, environment())
    place, outcomes = read(arguments.outcomes)
    wanted = [i for i in items() if any(fnmatchcase(f"{i.kind}:{i.name}", pattern) for pattern in arguments.only)]
    lock = threading.Lock()

    def note(outcome: Outcome) -> None:
        with lock:
            outcomes.append(outcome)
            add(arguments.outcomes, asdict(outcome))
            show(outcome)

    known = {outcome.item for outcome in outcomes}
    waiting = deque(item for item in wanted if item not in known)
    end = time.monotonic() + arguments.deadline
    threads = [threading.Thread(target=work, args=(waiting, end, note), daemon=True) for _ in range(arguments.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    with lock:
        known = {outcome.item for outcome in outcomes}
        missing = [item for item in wanted if item not in known]
        name = re.sub(r"\W+", "-", place["gpu"]).strip("-").lower()
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out / f"{place['date']}-{name}.md", page(place, outcomes, missing, arguments.remark))
        for process in multiprocessing.active_children():
            process.kill()
        os._exit(0 if not missing and all(outcome.ok for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
