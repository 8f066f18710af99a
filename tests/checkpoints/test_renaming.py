"""Rename tables."""

from __future__ import annotations

import pytest

from unetzoo import ConfigError
from unetzoo.checkpoints.renaming import Layout


def renamed(table: dict[str, str | None], *keys: str) -> dict[str, str | None]:
    return Layout(table).rename(keys)


def test_a_prefix_is_replaced_at_a_dot_and_nowhere_else() -> None:
    assert renamed({"conv1": "stem.conv"}, "conv1.weight", "conv10.weight", "x.conv1.weight") == {
        "conv1.weight": "stem.conv.weight"
    }


def test_groups_are_walked_in_step_and_multiply() -> None:
    table = {"down{1..2}.{0,3}": "stages.{5..6}.{a.conv,b.conv}"}
    assert renamed(table, "down1.0.weight", "down2.3.bias") == {
        "down1.0.weight": "stages.5.a.conv.weight",
        "down2.3.bias": "stages.6.b.conv.bias",
    }


def test_a_range_counts_down_too() -> None:
    assert renamed({"decoder{4..1}": "stages.{0..3}"}, "decoder4.w", "decoder1.w") == {
        "decoder4.w": "stages.0.w",
        "decoder1.w": "stages.3.w",
    }


def test_the_longest_prefix_wins_whatever_the_order() -> None:
    table = {"a": "x", "a.b": "y"}
    assert renamed(table, "a.b.w", "a.c.w") == {"a.b.w": "y.w", "a.c.w": "x.c.w"}


def test_a_star_stands_for_one_name_and_is_carried_over() -> None:
    assert renamed({"layers.*.all.0": "blocks.*.conv"}, "layers.7.all.0.weight", "layers.7.8.all.0.w") == {
        "layers.7.all.0.weight": "blocks.7.conv.weight"
    }


def test_null_drops_a_key_and_an_unmatched_key_is_left_out() -> None:
    assert renamed({"extra": None}, "extra.x", "other") == {"extra.x": None}


@pytest.mark.parametrize("row", [{"a{1,2}": "b{1..3}"}, {"a{1,2}": "b"}, {"a.*": "b"}])
def test_sides_that_do_not_match_are_refused(row: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="both sides need the same groups"):
        Layout(row)


@pytest.mark.parametrize(
    "pattern", ["a{1..100000000}", "a" + "{1..100}" * 6, "a{1.." + "9" * 5000 + "}", "a" + "{x,y}" * 40]
)
def test_a_table_that_stands_for_more_rows_than_any_network_has_is_refused_before_it_is_written_out(
    pattern: str,
) -> None:
    with pytest.raises(ConfigError, match="100000"):
        Layout({pattern: pattern})
    with pytest.raises(ConfigError, match="100000 rows"):
        Layout({f"{name}{{1..90000}}": None for name in "ab"})
