"""The contract of every model, and the network of four parts that most models are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from unetzoo import hub
from unetzoo.analysis.levels import Level, trace_levels
from unetzoo.applied import Classes, Provenance
from unetzoo.capabilities import Capabilities
from unetzoo.components.kinds import PARTS
from unetzoo.components.mistakes import collected, mistakes_in
from unetzoo.components.parts import Checkpointable, Layered, Undecayed
from unetzoo.components.spec import plain
from unetzoo.errors import ConfigError, InputError
from unetzoo.nn import dims
from unetzoo.nn.typing import Size
from unetzoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from unetzoo.card import ModelCard
    from unetzoo.config.schema import ModelConfig
    from unetzoo.nn.initialization import Initializer


# What a model says of its weights.
METADATA: dict[str, type[BaseModel]] = {"preprocessing": Preprocessing, "classes": Classes, "provenance": Provenance}


class DenseModel(nn.Module):
    """Base of every model: a float tensor (N, in_channels, *spatial) to logits (N, num_classes, *spatial).

    A subclass sets those of `encoder`, `center`, `decoder` and `head` that it has, the others stay None, and it
    calls `self.check_input(x)` first in `forward`. `make_head` builds a head for a number of classes. `about` holds
    fields of the card and `capabilities`, for a model that no config describes.

    `preprocessing`, `classes` and `provenance` say how images are prepared for the weights, what the outputs stand for
    and where the weights come from, where that is known. They may be set, by the names of the classes or a mapping
    too, and are saved with the model; `ConfigError` for what does not describe this model.
    """

    about: ClassVar[Mapping[str, object]] = {}
    capabilities: Capabilities = Capabilities()

    encoder: nn.Module | None
    center: nn.Module | None
    decoder: nn.Module | None
    head: nn.Module | None
    card: ModelCard | None = None
    config: ModelConfig | None = None
    preprocessing: Preprocessing | None = None
    classes: Classes | None = None
    provenance: Provenance | None = None
    initialize: Initializer | None = None

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        ndim: int,
        min_size: Size = 1,
        make_head: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.ndim = ndim
        self.min_size = min_size
        self._least = dims.per_axis(min_size, ndim)
        self.make_head = make_head
        self.encoder = self.center = self.decoder = self.head = None
        self._frozen: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in METADATA and value is not None:
            value = self._read_metadata(name, value)
        super().__setattr__(name, value)

    def check_input(self, x: torch.Tensor) -> None:
        """Raise `InputError` if `x` is not what the model takes; costs nothing when compiled, exported or traced."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        expected = f"expected a float tensor (N, {self.in_channels}, {', '.join('DHW'[-self.ndim :])})"
        if not isinstance(x, torch.Tensor):
            raise InputError(f"the input is a {type(x).__name__}; {expected}")
        if x.ndim != self.ndim + 2:
            hint = "; add the batch axis with x[None]" if x.ndim == self.ndim + 1 else ""
            raise InputError(f"the input has {x.ndim} axes, shape {tuple(x.shape)}; {expected}{hint}")
        if x.shape[1] != self.in_channels:
            hint = "; move the channels to axis 1" if x.shape[-1] == self.in_channels else ""
            raise InputError(f"the input has {x.shape[1]} channels, shape {tuple(x.shape)}; {expected}{hint}")
        if not x.is_floating_point():
            raise InputError(f"the input is of dtype {x.dtype}; {expected}; convert it with x.float() and normalize it")
        if any(have < least for have, least in zip(x.shape[2:], self._least, strict=True)):
            raise InputError(
                f"the input is {'x'.join(map(str, x.shape[2:]))}; expected at least {'x'.join(map(str, self._least))}"
            )

    def _read_metadata(self, name: str, value: object) -> object:
        """Return what is set under `name` as an object of its type."""
        kind = METADATA[name]
        try:
            metadata = kind.model_validate(value)
        except ValidationError as error:
            raise collected(f"{name} of the model", mistakes_in(error, kind, value)) from error
        if isinstance(metadata, Classes) and not metadata.fit(self.num_classes):
            raise ConfigError(f"{len(metadata.names)} classes for a model with {self.num_classes} outputs")
        if isinstance(metadata, Preprocessing):
            have = (metadata.ndim, len(metadata.mean or range(self.in_channels)))
            if have != (self.ndim, self.in_channels):
                raise ConfigError(
                    f"preprocessing of {have[0]}-D images with {have[1]} channels for a {self.ndim}-D model that takes "
                    f"{self.in_channels}"
                )
        return metadata

    def train(self, mode: bool = True) -> DenseModel:
        """Set training mode; what is frozen of the encoder stays in evaluation mode."""
        super().train(mode)
        self._hold_frozen()
        return self

    def freeze_encoder(self, until: int | None = None) -> None:
        """Stop the encoder from learning: no gradients, normalization statistics and dropout as in evaluation.

        Args:
            until: the last level to freeze, by index from the finest, with all that its features are computed from:
                the stem, and the stages up to that one. What an earlier call froze beyond it learns again. Default:
                the whole encoder.

        Raises:
            ConfigError: the encoder has no such level.
        """
        encoder = self._part("encoder")
        if until is None:
            whole = frozenset(name for name, _ in encoder.named_parameters())
            level = Level(whole, ("",))
        else:
            levels, until = self._levels(), plain(until)
            if not isinstance(until, int) or isinstance(until, bool) or not 0 <= until < len(levels):
                raise ConfigError(
                    f"until is {until!r}; expected a level of the encoder, from 0, the finest, to {len(levels) - 1}"
                )
            level = levels[until]
        self.unfreeze_encoder()
        for name in level.parameters:
            encoder.get_parameter(name).requires_grad_(False)
        self._frozen = level.modules
        self._hold_frozen()

    def _hold_frozen(self) -> None:
        for name in self._frozen:
            self._part("encoder").get_submodule(name).eval()

    def unfreeze_encoder(self) -> None:
        """Let the encoder learn again; its mode follows the model's."""
        self._frozen = ()
        self._part("encoder").requires_grad_(True).train(self.training)

    def reset_head(self, num_classes: int) -> None:
        """Replace the head by a fresh one for `num_classes`, of the old one's dtype and on its device.

        The names of the classes go with the old one.
        """
        num_classes = plain(num_classes)
        if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes!r}; expected a whole number of at least 1")
        self._replace_head(num_classes)
        self.num_classes = num_classes
        self.classes = None
        if self.config is not None:
            self.config = self.config.model_copy(update={"num_classes": num_classes, "classes": None})

    def _replace_head(self, num_classes: int) -> None:
        if self.make_head is None:
            raise ConfigError(
                f"{type(self).__name__} has no head that can be replaced; create it with num_classes instead"
            )
        old = next(self._part("head").parameters())
        head = self.make_head(num_classes)
        if self.initialize is not None:
            self.initialize(head)
        self.head = head.to(old.device, old.dtype).train(self.training)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the model into `folder`, which is made if need be, for `unetzoo.from_pretrained`.

        `config.json` holds the config with preprocessing, classes and provenance, `model.safetensors` the weights. Each
        file is replaced as a whole or not at all. Raises `ConfigError` if the model was not made by `create`.
        """
        hub.write_folder(folder, self._saved_config(), self.state_dict())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; return the address of the commit.

        Args:
            repo_id: the repository, `"user/name"`; made if need be.
            token: access token; default: the one that is logged in.
            private: whether a new repository is private; default: the account's setting.
            revision: branch to commit to, made if need be; default: the main one.
            commit_message: default: "Upload model".

        Raises:
            ConfigError: the model was not made by `create`.
            CheckpointError: the hub refuses.
        """
        return hub.upload(
            self._saved_config(),
            self.state_dict(),
            repo_id,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message,
        )

    def _saved_config(self) -> dict[str, object]:
        if self.config is None:
            raise ConfigError(
                f"{type(self).__name__} has no config: only what unetzoo.create made can be created again"
            )
        if self.config.encoder is not None and self.config.encoder.name.startswith("<"):
            raise ConfigError(
                f"encoder {self.config.encoder.name} was built by the caller, and a config cannot name it; register "
                "its class with unetzoo.register('encoder', NAME, ...) and create the model with encoder=NAME"
            )
        beside = {"preprocessing": self.preprocessing, "classes": self.classes, "provenance": self.provenance}
        return self.config.model_copy(update=beside).model_dump(mode="json", exclude_defaults=True)

    def set_gradient_checkpointing(self, enable: bool = True) -> None:
        """Enable activation checkpointing, in every part that can."""
        for module in self.modules():
            if module is not self and isinstance(module, Checkpointable):
                module.set_gradient_checkpointing(enable)

    def param_groups(
        self,
        lr: float,
        *,
        encoder: float = 1.0,
        center: float = 1.0,
        decoder: float = 1.0,
        head: float = 1.0,
        weight_decay: float | None = None,
        layer_decay: float = 1.0,
    ) -> list[dict[str, object]]:
        """Return optimizer groups: each parameter once, `lr` times its part's factor.

        Weights are decayed by `weight_decay`, by default by the optimizer's own; biases, normalization parameters and
        what a module names in `no_weight_decay()`, such as position embeddings, are not. Parameters outside the four
        parts learn at `lr`. With a `layer_decay` below 1 the rate of an encoder's layer is multiplied by it once
        for each layer from there to the decoder (Clark et al., "ELECTRA", ICLR 2020): layers as timm orders them in
        its backbones, levels of features in other encoders.

        Raises `ConfigError` if `layer_decay` is not above 0 and at most 1.
        """
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"layer_decay is {layer_decay}; expected a factor above 0 and at most 1")
        factors = {"encoder": encoder, "center": center, "decoder": decoder, "head": head}
        distances = {} if layer_decay == 1 else self._layer_distances()
        spared = self._without_decay()
        groups: dict[tuple[str, int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            part, _, inner = name.partition(".")
            distance = distances[inner] if part == "encoder" and distances else 0
            key = (part if part in PARTS else "other", distance, parameter.ndim > 1 and name not in spared)
            groups.setdefault(key, []).append(parameter)
        return [
            {
                "name": " ".join(
                    [
                        part,
                        *([f"layer {distance} from the end"] if distance else []),
                        *([] if decayed else ["without decay"]),
                    ]
                ),
                "params": parameters,
                "lr": lr * factors.get(part, 1.0) * layer_decay**distance,
                **({} if decayed and weight_decay is None else {"weight_decay": weight_decay if decayed else 0.0}),
            }
            for (part, distance, decayed), parameters in groups.items()
        ]

    def _without_decay(self) -> set[str]:
        return {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules()
            if isinstance(module, Undecayed)
            for name in module.no_weight_decay()
        }

    def _layer_distances(self) -> dict[str, int]:
        """How many layers each parameter of the encoder is from the decoder, by name; 1 for those of the last."""
        encoder = self._part("encoder")
        known = encoder.layer_distances() if isinstance(encoder, Layered) else None
        if known is not None:
            return known
        distances = {name: 1 for name, _ in encoder.named_parameters()}
        levels = self._levels()
        for distance, level in enumerate(reversed(levels), start=1):
            distances.update(dict.fromkeys(level.parameters, distance))
        return distances

    def _levels(self) -> list[Level]:
        encoder = self._part("encoder")
        some = next(encoder.parameters())
        size = [max(32, least) for least in self._least]
        x = torch.zeros(1, self.in_channels, *size, device=some.device, dtype=some.dtype)
        return trace_levels(self, encoder, x)

    def _part(self, name: str) -> nn.Module:
        part = getattr(self, name)
        if part is None:
            raise ConfigError(f"{type(self).__name__} has no {name}")
        return part


class Network(DenseModel):
    """Encoder, center, decoder and head in sequence; each keeps the promises of `unetzoo.components.parts`."""

    encoder: nn.Module
    center: nn.Module
    decoder: nn.Module
    head: nn.Module

    def __init__(
        self,
        encoder: nn.Module,
        center: nn.Module,
        decoder: nn.Module,
        make_head: Callable[[int], nn.Module],
        *,
        in_channels: int,
        num_classes: int,
        ndim: int,
        min_size: Size,
    ) -> None:
        super().__init__(
            in_channels=in_channels, num_classes=num_classes, ndim=ndim, min_size=min_size, make_head=make_head
        )
        self.encoder = encoder
        self.center = center
        self.decoder = decoder
        self.head = make_head(num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits of (N, in_channels, *spatial); a list, finest first, with deep supervision in training."""
        self.check_input(x)
        features = self.encoder(x)
        features[-1] = self.center(features[-1])
        return self.head(self.decoder(features), size=x.shape[2:])
