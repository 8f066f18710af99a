"""What is varied at random in training, and how far; everything is off unless it is named."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Axis = Literal["depth", "height", "width"]


class Affine(BaseModel):
    """Rotation about the center, scaling, shearing and shifting, each drawn evenly from its range."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    degrees: Amount | list[Amount] = Field(
        0.0, description="largest angle; of volumes, one about each axis: depth, height, width"
    )
    scale: tuple[float, float] = Field((1.0, 1.0), description="smallest and largest factor, equal for all axes")
    shear: Amount = Field(0.0, description="largest angle of shear along width and height, in degrees; pictures only")
    translate: Fraction = Field(0.0, description="largest shift as a fraction of each side")
    probability: Probability = 1.0

    @model_validator(mode="after")
    def _check_scale(self) -> Affine:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale goes from a positive factor to one no smaller, got {list(self.scale)}")
        return self


class Elastic(BaseModel):
    """The elastic deformation of the U-Net paper (Ronneberger et al., MICCAI 2015, section 3.1).

    Random displacement vectors on a coarse grid over the image, between which each pixel's own is interpolated
    bicubically.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    deviation: float = Field(10.0, gt=0, description="standard deviation of the displacements, in pixels")
    grid: int = Field(3, ge=2, le=16, description="points of the coarse grid along each axis")
    probability: Probability = 1.0


class Color(BaseModel):
    """Changes of intensity and color, each drawn evenly from its range, in the order given here.

    Saturation and hue need three channels, and they and gamma need images in 0 to 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    brightness: Amount = Field(0.0, description="largest value added or taken off")
    contrast: Fraction = Field(0.0, description="values are multiplied by 1 - contrast to 1 + contrast")
    gamma: Fraction = Field(0.0, description="values are raised to the power of 1 - gamma to 1 + gamma")
    saturation: Fraction = Field(0.0, description="saturation is multiplied by 1 - saturation to 1 + saturation")
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of the color circle, as a part of it")
    noise: Amount = Field(0.0, description="largest standard deviation of Gaussian noise")
    probability: Probability = 1.0


class AugmentationConfig(BaseModel):
    """What is varied at random: mirroring, turning and bending for image and target together, color for the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: list[Axis] = Field([], description="axes along which every second image is mirrored")
    turn: bool = Field(False, description="quarter turns in the plane of height and width, for square crops")
    affine: Affine | None = None
    elastic: Elastic | None = None
    color: Color | None = None
