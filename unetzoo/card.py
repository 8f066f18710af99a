"""What is known of a model besides its layers: the card of `unetzoo.info`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from unetzoo.applied import Classes, Provenance
from unetzoo.preprocessing import Preprocessing


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Checkpoint(_Record):
    """Published weights of the whole model."""

    url: str = Field(description="where the file can be downloaded")
    manual: bool = Field(False, description="the address is a folder or a page: the file must be fetched by hand")
    file: str = Field("", description="name of the file, as its authors gave it")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="hash of the file")
    md5: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="hash of the file, where no better is published"
    )
    trained_on: str = Field("", description="the data set and the task")
    num_classes: int = Field(1, ge=1, description="classes of the published head")
    in_channels: int = Field(3, ge=1, description="channels that the published network takes")
    license: str = Field("", description="license of the weights")
    preprocessing: Preprocessing | None = Field(None, description="how images are prepared for these weights")
    classes: Classes | None = Field(None, description="what the outputs stand for")
    notes: str = Field("", description="what else a user must know")

    def provenance(self, name: str) -> Provenance:
        """Where the weights come from, as a model that holds them says it; `name` is the checkpoint's on the card."""
        return Provenance(trained_on=self.trained_on, weights=name, license=self.license, source=self.url)


class Sizes(_Record):
    """Parameters and cost in the authors' own setting."""

    in_channels: int = Field(3, ge=1)
    num_classes: int = Field(1, ge=1)
    ndim: int = Field(2, ge=2, le=3)
    params: int = Field(ge=1, description="number of parameters")
    input: tuple[int, ...] | None = Field(None, description="spatial size that the FLOPs are counted at")
    flops: int | None = Field(None, ge=1, description="floating-point operations, two for a multiply and add")


class Unpadded(_Record):
    """What unpadded convolutions take off: a size of `offset + k * divisor` along an axis comes out `margin` smaller.

    Other sizes come out as the next smaller one of that form does.
    """

    margin: int = Field(ge=1)
    divisor: int = Field(1, ge=1)
    offset: int = Field(0, ge=0)


class ModelCard(_Record):
    """What a model is, who published it, under which terms, and how large it is."""

    name: str = ""
    source: str = Field("", description="the distribution that registered the model")
    title: str = ""
    authors: str = ""
    year: int | None = Field(None, ge=1980, le=2100)
    paper: str = Field("", description="address of the paper")
    reference: str = Field("", description="address of the authors' code")
    license: str = Field("", description="license of the authors' code")
    description: str = ""
    follows: str = Field("", description="where paper and code differ: which one our network follows, and why")
    tags: tuple[str, ...] = ()
    ndim: tuple[int, ...] = Field((2, 3), description="spatial dimensions that the model can be created with")
    min_size: PositiveInt | tuple[PositiveInt, ...] | None = Field(
        None, description="smallest size along every axis, or along each"
    )
    unpadded: Unpadded | None = Field(None, description="how the output is smaller than the input, if it is")
    deep_supervision: bool = Field(False, description="whether training mode can return several levels' logits")
    parts: dict[str, str] = Field({}, description="the part of each kind")
    sizes: Sizes | None = None
    checkpoints: dict[str, Checkpoint] = {}
    capabilities: dict[str, object] = Field({}, description="capabilities declared to the conformance suite")
