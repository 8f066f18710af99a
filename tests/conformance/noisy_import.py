"""A module with side effects when imported: the home of a planted defect."""

from __future__ import annotations

import os

os.environ["UNETZOO_TEST_NOISE"] = "1"
