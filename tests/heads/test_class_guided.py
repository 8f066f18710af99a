from __future__ import annotations

import torch
from torch import nn

import unetzoo
from unetzoo.heads.class_guided import ClassGuidedHead
from unetzoo.heads.conv import ConvHead


def make(scores: tuple[float, float], **options: bool) -> ClassGuidedHead:
    """A head whose classifier gives these scores, whatever it sees."""
    torch.manual_seed(0)
    head = ClassGuidedHead([3, 4], [1, 2], 2, ndim=2, **options)
    nn.init.zeros_(head.classify.weight)
    with torch.no_grad():
        head.classify.bias.copy_(torch.tensor(scores))
    return head


FEATURES = [torch.randn(2, 3, 7, 6), torch.randn(2, 4, 4, 3)]


def test_a_closed_gate_gives_zero_logits() -> None:
    assert not make((1.0, 0.5)).eval()(FEATURES, (7, 6)).any()


def test_an_open_gate_gives_the_logits_of_a_plain_head() -> None:
    head = make((0.5, 1.0), deep_supervision=True).train()
    plain = ConvHead([3, 4], [1, 2], 2, ndim=2, deep_supervision=True)
    plain.load_state_dict({key: value for key, value in head.state_dict().items() if key.startswith("convs")})
    for ours, theirs in zip(head(FEATURES, (7, 6)), plain(FEATURES, (7, 6)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_each_image_has_a_decision_of_its_own() -> None:
    head = make((0.0, 0.0)).eval()
    with torch.no_grad():
        head.classify.weight[1] = 1.0
    low = torch.stack([torch.full((4, 4, 3), 1.0), torch.full((4, 4, 3), -1.0)])
    logits = head([FEATURES[0], low], (7, 6))
    assert logits[0].any()
    assert not logits[1].any()


def test_gradients_pass_a_closed_gate_as_its_probability_lets_them() -> None:
    head = make((2.0, 0.0)).train()
    head.drop.p = 0.0
    x = FEATURES[0].clone().requires_grad_()
    head([x, FEATURES[1]], (7, 6)).sum().backward()
    probability = torch.tensor([2.0, 0.0]).softmax(0)[1]
    through_convolution = torch.autograd.grad(head.convs[0](x).sum(), x)[0]
    torch.testing.assert_close(x.grad, probability * through_convolution)
    assert head.classify.weight.grad is not None
    assert head.classify.weight.grad.any()


def test_a_fresh_network_silences_no_image() -> None:
    small = {"encoder": {"channels": [4, 8, 8, 8, 8]}, "decoder": {"width": 4}}
    for seed in range(8):
        torch.manual_seed(seed)
        model = unetzoo.create("unet3p_cgm", num_classes=2, **small).eval()
        assert all(logits.any() for logits in model(torch.randn(4, 3, 32, 32)))
