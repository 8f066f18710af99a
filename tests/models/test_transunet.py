"""TransUNet: images of other sizes, and the sizes that its paper names."""

from __future__ import annotations

import pytest
import torch

import unetzoo

SMALL = {"depth": 1, "embed_dim": 24, "heads": 2, "mlp_dim": 24}


@pytest.mark.parametrize("hybrid", [True, False])
def test_images_of_any_size_come_back_at_their_size(hybrid: bool):
    model = unetzoo.create("transunet", num_classes=2, image_size=32, hybrid=hybrid, **SMALL).eval()
    with torch.no_grad():
        for size in ((32, 32), (17, 41)):
            assert model(torch.randn(1, 3, *size)).shape == (1, 2, *size)


def test_larger_configurations_have_the_parameters_of_the_reference():
    # Counted in the authors' code: R50-ViT-B/16 at 512, and R50-ViT-L/16 at 224, nine classes.
    large = {"embed_dim": 1024, "depth": 24, "heads": 16, "mlp_dim": 4096}
    for options, expected in (({"image_size": 512}, 105912985), (large, 324024729)):
        with torch.device("meta"):
            model = unetzoo.create("transunet", num_classes=9, **options)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_a_size_that_is_no_multiple_of_a_patch_is_refused():
    with pytest.raises(unetzoo.ConfigError, match="image_size is 100"):
        unetzoo.create("transunet", image_size=100)
