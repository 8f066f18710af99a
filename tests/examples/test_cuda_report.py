"""The page on a GPU's runs: what it counts, what it lists as failed and as not run, and the file it is made from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks.cuda_report import Item, Outcome, add, items, page, read, run

PLACE = {"date": "2026-01-02", "gpu": "A Card", "machine": "one A Card", "software": "torch 9"}
GOOD = Outcome(Item("cuda", "unet", 3), True, 1.0, ("9", "0", "4", "1e-6 of 1e-4"))
BAD = Outcome(Item("golden", "unet-a"), False, 1.0, ("2, at most 1",), {"logits": "2 | 3,\nat most 1"})


def test_the_page_counts_and_names_what_failed_and_what_was_not_run() -> None:
    text = page(PLACE, [GOOD, BAD], [Item("width", "vnet", 3)], "It was mended.")
    assert "2 runs: 1 as they should be, 1 not." in text
    assert "- unet-a (golden), `logits`: 2 \\| 3, at most 1\n\nIt was mended." in text
    assert "- Named models at their own widths, CUDA checks: vnet (3-D).\n" in text
    assert "| unet (3-D) | yes | 9 | 0 | 4 | 1e-6 of 1e-4 |" in text
    assert "| unet-a | **no** | 2, at most 1 |" in text


def test_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    for line in (PLACE, asdict(GOOD), asdict(BAD)):
        add(tmp_path / "outcomes.jsonl", line)
    place, outcomes = read(tmp_path / "outcomes.jsonl")
    assert place == PLACE
    assert [(o.item, o.ok, o.failures, list(o.cells)) for o in outcomes] == [
        (o.item, o.ok, o.failures, list(o.cells)) for o in (GOOD, BAD)
    ]


def test_everything_that_is_to_be_run_is_there_once() -> None:
    listed = items()
    assert len(set(listed)) == len(listed)
    assert {item.kind for item in listed} == {"full", "planted", "golden", "cuda", "width", "network", "control"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what is told where the device is missing")
def test_an_error_of_a_run_is_its_failure() -> None:
    threads = torch.get_num_threads()
    outcome = run(Item("width", "unet_small"))
    torch.set_num_threads(threads)
    assert not outcome.ok
    assert "'cuda' is not there" in outcome.failures["run"]
