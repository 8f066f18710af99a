from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from tests.inference.networks import Plain
from unetzoo.errors import ConfigError
from unetzoo.inference import TestTimeAugmentation
from unetzoo.inference.run.tta import symmetries


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("ndim", "kind", "count"),
    [(2, "none", 1), (2, "flips", 4), (2, "all", 8), (3, "none", 1), (3, "flips", 8), (3, "all", 48)],
)
def test_every_symmetry_is_there_once_and_is_undone(ndim, kind, count):
    x = torch.randn(1, 2, *range(4, 4 + ndim))
    cube = torch.randn(1, 1, *[3] * ndim)
    variants = symmetries(ndim, kind)
    assert all(torch.equal(variant.undo(variant.apply(x)), x) for variant in variants)
    assert len({tuple(variant.apply(cube).flatten().tolist()) for variant in variants}) == count


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_mean_turns_with_the_image(ndim, average):
    network = TestTimeAugmentation(Plain(ndim).eval(), average=average)
    x = torch.randn(1, 3, *range(7, 7 + ndim))
    with torch.inference_mode():
        for variant in symmetries(ndim, "all")[::5]:
            torch.testing.assert_close(network(variant.apply(x)), variant.apply(network(x)), rtol=1e-4, atol=1e-5)


def test_logits_are_averaged_over_flips_and_rotations():
    network, x = Plain().eval(), torch.randn(2, 3, 9, 6)
    turned = []
    for quarter, flip in itertools.product(range(4), (False, True)):
        view = torch.rot90(x.flip(3) if flip else x, quarter, (2, 3))
        back = torch.rot90(network(view), -quarter, (2, 3))
        turned.append(back.flip(3) if flip else back)
    torch.testing.assert_close(TestTimeAugmentation(network)(x), torch.stack(turned).mean(0), rtol=1e-4, atol=1e-5)


def test_probabilities_are_averaged_as_in_dlinknet():
    network, x = nn.Conv2d(3, 1, 3, padding=1), torch.randn(1, 3, 8, 8)
    total = torch.zeros(1, 1, 8, 8)
    for turned in (False, True):  # the image and its quarter turn, each with both flips
        view = torch.rot90(x, int(turned), (2, 3))
        for axes in ((), (2,), (3,), (2, 3)):
            mask = network(view.flip(axes)).sigmoid().flip(axes)
            total += torch.rot90(mask, -int(turned), (2, 3))
    logits = TestTimeAugmentation(network, average="probabilities")(x)
    torch.testing.assert_close(logits.sigmoid(), total / 8)
    assert torch.equal(logits > 0, total > 4)


def test_several_classes_keep_their_mean_probabilities():
    network, x = Plain().eval(), torch.randn(1, 3, 8, 8)
    logits = TestTimeAugmentation(network, average="probabilities", symmetries="flips")(x)
    flips = [network(x.flip(axes)).flip(axes).softmax(1) for axes in ((), (2,), (3,), (2, 3))]
    torch.testing.assert_close(logits.softmax(1), torch.stack(flips).mean(0))


def test_scales_resample_the_image_and_bring_the_logits_back():
    sizes: list[tuple[int, ...]] = []

    class Ones(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(tuple(x.shape[2:]))
            return torch.full_like(x[:, :1], float(len(sizes)))

    x = torch.randn(1, 3, 20, 33)
    mean = TestTimeAugmentation(Ones(), symmetries="none", scales=(0.5, 1.0, 1.25))(x)
    assert sizes == [(10, 16), (20, 33), (25, 41)]
    torch.testing.assert_close(mean, torch.full((1, 1, 20, 33), 2.0))


@pytest.mark.parametrize("options", [{"scales": ()}, {"scales": (0.0,)}, {"symmetries": "turns"}, {"average": "votes"}])
def test_options_without_meaning_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        TestTimeAugmentation(nn.Identity(), **options)
