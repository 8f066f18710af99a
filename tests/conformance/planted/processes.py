"""Networks that are another in a fresh process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.conformance.planting import planted

# The check imports the builder by name in a process of its own.
sys.path.append(str(Path(__file__).parents[1]))
nets = importlib.import_module("fresh_nets")
planted("check_fresh_process", because="first output in a fresh process")(nets.WarmsUp)
planted("check_fresh_process", because="another order")(nets.OrderOfASet)
planted("check_fresh_process", because="first output in a fresh process")(nets.PlacesByNumber)
