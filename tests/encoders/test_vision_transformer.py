"""The transformer encoders of TransUNet: attention, position embeddings and the network before them."""

from __future__ import annotations

import pytest
import torch

from unetzoo.encoders.big_transfer import BigTransferResNet
from unetzoo.encoders.vision_transformer import SelfAttention, VisionTransformerEncoder
from unetzoo.errors import ConfigError


def encoder(**options: object) -> VisionTransformerEncoder:
    settings = {"image_size": 64, "embed_dim": 8, "depth": 1, "heads": 2, "mlp_dim": 8, "dropout": 0.0}
    torch.manual_seed(0)
    return VisionTransformerEncoder(3, **{**settings, "hybrid": False, "out_channels": 4, **options}).eval()


def test_attention_is_the_softmax_of_scaled_products_head_by_head():
    attention = SelfAttention(6, 2).double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    query, key, value = attention.query(x)[0], attention.key(x)[0], attention.value(x)[0]
    heads = [(query[:, h] @ key[:, h].T / 3**0.5).softmax(-1) @ value[:, h] for h in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(attention(x)[0], attention.out(torch.cat(heads, dim=-1)))


def test_position_embeddings_are_added_as_they_are_at_their_own_size_and_interpolated_elsewhere():
    model = encoder()
    grid = torch.arange(4.0)
    model.position.data.copy_((grid[:, None] + 10 * grid).flatten()[None, :, None])
    seen: list[torch.Tensor] = []
    model.drop.register_forward_hook(lambda module, inputs, output: seen.append(output[..., 0] - model.embed.bias[0]))
    for size in (64, 112):
        model(torch.zeros(1, 3, size, size))
    torch.testing.assert_close(seen[0].view(4, 4), grid[:, None] + 10 * grid)
    fine = torch.arange(7.0) / 2
    torch.testing.assert_close(seen[1].view(7, 7), fine[:, None] + 10 * fine)


def test_any_size_is_padded_to_whole_patches():
    assert [tuple(f.shape[1:]) for f in encoder()(torch.randn(1, 3, 33, 17))] == [(4, 3, 2)]


def test_a_single_channel_is_repeated_three_times():
    torch.manual_seed(0)
    single = VisionTransformerEncoder(
        1, image_size=32, hybrid=False, embed_dim=8, depth=1, heads=2, mlp_dim=8, out_channels=4, dropout=0.0
    ).eval()
    x = torch.randn(1, 1, 32, 32)
    three = VisionTransformerEncoder(
        3, image_size=32, hybrid=False, embed_dim=8, depth=1, heads=2, mlp_dim=8, out_channels=4, dropout=0.0
    ).eval()
    three.load_state_dict(single.state_dict())
    torch.testing.assert_close(single(x)[0], three(x.repeat(1, 3, 1, 1))[0])


def test_features_of_the_residual_network_are_padded_at_the_end_to_their_strides():
    network = BigTransferResNet(3, depths=(1, 1, 1))
    features = network(torch.randn(1, 3, 32, 48))
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert not features[1][..., -1].any()
    assert not features[1][..., -1, :].any()
    assert features[1][..., :-1, :-1].any()


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="image_size is 40"):
        encoder(image_size=40)
    with pytest.raises(ConfigError, match="3 heads"):
        encoder(heads=3)
