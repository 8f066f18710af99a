"""The kinds of components: one row each, with all that differs between kinds."""

from __future__ import annotations

from dataclasses import dataclass

from unetzoo.components.parts import Center, Decoder, Encoder, Head


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
        name: as users write it: `unetzoo.register("encoder", ...)`, `unetzoo.list_components("encoder")`.
        given: arguments that the builder supplies; they cannot be options of a config.
        protocol: what the built component must be, where that can be checked.
        part: whether it is one of the parts in sequence that a `Network` is made of.
        in_config: whether a model's config has a key of this name.
    """

    name: str
    given: tuple[str, ...]
    protocol: type | None = None
    part: bool = False
    in_config: bool = True

    @property
    def group(self) -> str:
        """The entry-point group under which distributions register components of this kind."""
        return f"unetzoo.{self.name}s"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("model", ("in_channels", "num_classes", "ndim", "pretrained")),
        Kind("encoder", ("in_channels", "ndim", "pretrained"), Encoder, part=True),
        Kind("center", ("channels", "ndim"), Center, part=True),
        Kind("decoder", ("channels", "strides", "ndim"), Decoder, part=True),
        Kind("head", ("channels", "strides", "num_classes", "ndim"), Head, part=True),
        Kind("block", ("in_channels", "out_channels", "ndim")),
        Kind("backend", (), in_config=False),
    )
}
PARTS = tuple(kind.name for kind in KINDS.values() if kind.part)
IN_CONFIG = tuple(kind.name for kind in KINDS.values() if kind.in_config)
