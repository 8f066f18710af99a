"""The schema of a model's config."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from unetzoo.applied import Classes, Provenance
from unetzoo.capabilities import Capabilities, Stated
from unetzoo.card import ModelCard
from unetzoo.components.kinds import IN_CONFIG
from unetzoo.components.spec import named
from unetzoo.preprocessing import Preprocessing

MOST_CHANNELS = 2**20  # beyond this a number is a slip: one convolution would take gigabytes


class PartConfig(BaseModel):
    """A component by name, with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_name(cls, value: object) -> object:
        return named(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}

    @property
    def options(self) -> dict[str, object]:
        """The options without the name."""
        return dict(self.model_extra or {})


class ModelConfig(BaseModel):
    """A model: either a `model` component, or an encoder, a center, a decoder and a head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extends: str | None = Field(None, description="name of a registered config, or path of a YAML file, to start from")
    model: PartConfig | None = Field(None, description="a network that does not fit the four parts")
    encoder: PartConfig | None = None
    center: PartConfig | None = None
    decoder: PartConfig | None = None
    head: PartConfig | None = None
    block: PartConfig | None = Field(None, description="block of every part that takes one and does not name its own")
    ndim: int = Field(2, ge=2, le=3, strict=True, description="spatial dimensions")
    in_2d: dict[str, Any] = Field({}, description="keys that differ where the model is created with ndim=2")
    in_3d: dict[str, Any] = Field({}, description="keys that differ where the model is created with ndim=3")
    tiny: dict[str, Any] = Field({}, description="keys that make the network small and quick, for tests")
    in_channels: int = Field(3, ge=1, le=MOST_CHANNELS, strict=True)
    num_classes: int = Field(1, ge=1, le=MOST_CHANNELS, strict=True)
    init: str | dict[str, str | float] | None = Field(
        None, description="initialization scheme of the weights, with its options; default: torch's own"
    )
    deep_supervision: bool = Field(False, strict=True, description="training mode returns logits of several levels")
    preprocessing: Preprocessing | None = Field(None, description="how images are prepared for the weights")
    classes: Classes | None = Field(None, description="what the outputs stand for: names, colors, void")
    provenance: Provenance | None = Field(None, description="where the weights come from")
    capabilities: Stated = Field(Capabilities(), description="what the model can do, verified by the suite")
    card: ModelCard = ModelCard()
    layouts: dict[str, dict[str, str | None]] = Field(
        {}, description="key layouts of the authors' checkpoints: their keys to ours, or to null for what is dropped"
    )

    @property
    def parts(self) -> dict[str, str]:
        """The name of the component of each kind."""
        return {kind: part.name for kind in IN_CONFIG if (part := getattr(self, kind)) is not None}
