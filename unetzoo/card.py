"""Model cards: metadata of a model, as `unetzoo.info` returns it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from unetzoo.applied import Classes, Provenance
from unetzoo.capabilities import Capabilities, Stated
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
    parts: dict[str, str] = Field({}, description="the part of each kind, filled in")
    sizes: Sizes | None = None
    checkpoints: dict[str, Checkpoint] = {}
    capabilities: Stated = Field(Capabilities(), description="filled in from the config of what was built")

    @property
    def ndim(self) -> tuple[int, ...]:
        """Spatial dimensions that the model can be created with."""
        return self.capabilities.dimensions
