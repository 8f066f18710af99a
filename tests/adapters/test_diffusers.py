"""diffusers' U-Net as a segmentation network and as a diffusion model."""

from __future__ import annotations

import sys

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

import unetzoo


def tiny(**changes: object) -> unetzoo.DenseModel:
    options = {"num_classes": 2, "block_out_channels": [8, 16, 24], "depth": 1, **changes}
    return unetzoo.create("diffusers_unet2d", **options)


def test_an_odd_size_comes_back_and_every_parameter_learns() -> None:
    model = tiny()
    logits = model(torch.randn(2, 3, 33, 27))
    assert logits.shape == (2, 2, 33, 27)
    logits.square().mean().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_timestep_is_fixed_unless_given_for_all_or_for_each_sample() -> None:
    model = tiny(timestep=3).eval()
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(model(x), model(x, 3))
    assert torch.equal(model(x), model(x, torch.tensor([3, 3])))
    assert not torch.allclose(model(x), model(x, 500))


def test_the_unet_is_saved_and_loaded_by_diffusers(tmp_path) -> None:
    model = tiny().eval()
    model.unet.save_pretrained(tmp_path)
    again = UNet2DModel.from_pretrained(tmp_path).eval()
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(again(x, 5).sample, model(x, 5))


def test_it_denoises_with_a_scheduler_of_diffusers() -> None:
    torch.manual_seed(0)
    model = tiny(num_classes=3)
    scheduler = DDPMScheduler(num_train_timesteps=100)
    images = torch.randn(4, 3, 16, 16).sign() * 0.5
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        noise, steps = torch.randn_like(images), torch.randint(100, (4,))
        loss = (model(scheduler.add_noise(images, noise, steps), steps) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_head_is_replaced_for_another_number_of_classes() -> None:
    model = tiny()
    model.reset_head(5)
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 5, 16, 16)
    assert model.unet.config.out_channels == 5


def test_gradient_checkpointing_is_diffusers_own() -> None:
    model = tiny()
    model.set_gradient_checkpointing(True)
    assert model.unet.is_gradient_checkpointing
    model.set_gradient_checkpointing(False)
    assert not model.unet.is_gradient_checkpointing


def test_without_diffusers_the_name_stays_and_create_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "diffusers_unet2d" in unetzoo.list_models()
    with pytest.raises(unetzoo.PluginError, match=r"pip install 'unetzoo\[diffusion\]'"):
        tiny()


def test_every_level_hears_of_the_time_step() -> None:
    """A group of one channel would normalize away what the time step adds to it."""
    model = tiny()
    model(torch.randn(1, 3, 16, 16)).square().sum().backward()
    deaf = [n for n, p in model.named_parameters() if n.endswith("time_emb_proj.weight") and p.grad.abs().max() < 1e-9]
    assert not deaf


def test_a_new_head_of_an_evaluating_network_evaluates() -> None:
    model = tiny().eval()
    model.reset_head(5)
    assert not model.unet.conv_out.training
