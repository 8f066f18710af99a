"""What `import unetzoo; unetzoo.list_models()` costs on top of the interpreter, beside importing smp and timm.

    python benchmarks/import_time.py [--repeat 9]

Each statement runs in fresh interpreters, the statements taking turns; medians are told, the interpreter's own
start-up taken off. Exits with 1 if unetzoo takes longer than 0.10 s or loads torch or timm.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

LIMIT = 0.10
STATEMENTS = {
    "interpreter": "pass",
    "unetzoo": "import unetzoo; unetzoo.list_models()",
    "timm": "import timm; timm.list_models()",
    "segmentation_models_pytorch": "import segmentation_models_pytorch",
}
LOADED = "; import sys; print([name for name in ('torch', 'timm') if name in sys.modules])"


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9)
    repeat = parser.parse_args().repeat
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(repeat):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))
    medians = {name: statistics.median(values) for name, values in times.items()}
    own = medians["unetzoo"] - medians["interpreter"]
    for name, median in medians.items():
        extra = median - medians["interpreter"]
        print(f"{name:30} {extra:7.3f} s   {extra / own:6.1f} x unetzoo")
    command = [sys.executable, "-c", STATEMENTS["unetzoo"] + LOADED]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"of torch and timm, unetzoo loads: {loaded}")
    return 0 if own <= LIMIT and loaded == "[]" else 1


if __name__ == "__main__":
    sys.exit(main())
