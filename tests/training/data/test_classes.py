"""Class tables: what masks' values and colors become."""

from __future__ import annotations

import numpy as np
import pytest

from unetzoo.training.data import ClassTable, DataError

SKY, ROAD, KERB = (10, 20, 30), (1, 0, 0), (0, 1, 0)
STREET = ClassTable.make({"sky": SKY, "road": [ROAD, KERB]}, void=[(0, 0, 0)])


def test_names_alone_stand_for_their_positions() -> None:
    table = ClassTable.make(["background", "cell"])
    assert table.encode(np.array([[0, 1, 255]]), "a.png").tolist() == [[0, 1, 255]]
    assert len(table) == 2
    assert not table.in_color


def test_values_become_the_classes_that_they_are_given_for() -> None:
    table = ClassTable.make({"background": 2, "pet": 1}, void=[3])
    assert table.encode(np.array([[1, 2, 3]]), "a.png").tolist() == [[1, 0, 255]]


def test_several_colors_may_stand_for_a_class() -> None:
    mask = np.array([[SKY, ROAD, KERB, (0, 0, 0)]], np.uint8)
    assert STREET.encode(mask, "a.png").tolist() == [[0, 1, 1, 255]]


def test_unknown_colors_are_refused_with_the_file_each_color_and_its_pixels() -> None:
    mask = np.array([[SKY, (7, 8, 9), (7, 8, 9), (1, 1, 1)]], np.uint8)
    with pytest.raises(DataError, match=r"b\.png: 3 pixels .*\(7, 8, 9\) \(2\), \(1, 1, 1\) \(1\)"):
        STREET.encode(mask, "b.png")


def test_unknown_values_are_refused_with_what_was_expected() -> None:
    table = ClassTable.make(["background", "cell"], ignore_index=9)
    with pytest.raises(DataError, match=r"b\.png: 1 pixel of values .*: 2 \(1\); expected 0, 1, or 9 for void"):
        table.encode(np.array([[0, 1, 2, 9]]), "b.png")


def test_a_color_is_not_mistaken_for_another_with_the_same_sum() -> None:
    with pytest.raises(DataError, match=r"\(30, 20, 10\)"):
        STREET.encode(np.array([[(30, 20, 10)]], np.uint8), "b.png")


def test_stray_pixels_become_void_up_to_the_share_allowed() -> None:
    table = ClassTable.make(["background", "cell"], stray=0.1)
    mask = np.zeros((4, 5), np.uint8)
    mask[0, :2] = 77
    assert (table.encode(mask, "a.png") == 255).sum() == 2
    mask[0, 2] = 77
    with pytest.raises(DataError, match=r"77 \(3\)"):
        table.encode(mask, "a.png")


def test_a_threshold_belongs_to_the_second_class() -> None:
    table = ClassTable.make(["background", "road"], threshold=128)
    assert table.encode(np.array([[0, 127, 128, 255]]), "a.png").tolist() == [[0, 0, 1, 1]]


def test_labels_are_shown_in_their_colors_and_void_in_black() -> None:
    assert STREET.classes.color(np.array([[0, 1, 255]])).tolist() == [[[10, 20, 30], [1, 0, 0], [0, 0, 0]]]


def test_made_up_colors_differ_from_class_to_class() -> None:
    colors = ClassTable.make([f"class {number}" for number in range(40)]).classes.palette
    assert len(set(colors)) == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["cell"]}, "two classes or more"),
        ({"classes": ["cell", "cell"]}, "two classes of one name"),
        ({"classes": {"a": 1, "b": 1}}, "claim 1"),
        ({"classes": {"a": 1, "b": 2}, "void": [2]}, "claim 2"),
        ({"classes": {"a": 1, "b": (1, 2, 3)}}, "partly as values, partly as colors"),
        ({"classes": ["a", "b", "c"], "threshold": 9}, "a threshold makes two classes"),
        ({"classes": ["a", "b", "c"], "ignore_index": 1}, "no room for ignore_index 1"),
        ({"classes": ["a", "b", "c"], "colors": [(0, 0, 0)]}, "1 colors for 3 classes"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTable.make(**arguments)
