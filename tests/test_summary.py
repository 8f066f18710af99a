from __future__ import annotations

import unetzoo
from unetzoo.summary import summarize


def test_one_number_is_the_size_along_all_axes():
    def build():
        return unetzoo.create("unet", num_classes=2, encoder={"channels": [4, 4]})

    assert summarize(build, size=64) == summarize(build, size=(64,)) == summarize(build, size=[64, 64])
    assert summarize(build, size=64).output == (1, 2, 64, 64)
