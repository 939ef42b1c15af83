"""Views: from which layer of a frozen encoder features are taken, and how they are pooled.

A view goes by one word, which a study's `score` and the score files use: `concat_freq` is of the
tokens after the last norm, `layer3.concat_freq` of what the third layer gives, and
`mean_layers.concat_freq` of the mean of what all layers give, both before that norm.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ablate.parts import AS_BEFORE

Pooling = Literal["mean", "mean_std", "concat_freq", "max", "summary", "attentive"]
Layers = Literal["last", "mean", "each"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
SUMMARY: Pooling = "summary"  # the encoder's own token: one of a window, whatever is heard when
TOKENS: Pooling = "attentive"  # every token: the probe learns which to attend to
USUAL: tuple[Pooling, ...] = ("mean", "mean_std", "concat_freq")


@dataclass(frozen=True)
class View:
    """One layer's tokens under one pooling. `layer` counts from 1; None is after the last norm."""

    pooling: Pooling
    layer: int | Literal["mean"] | None = None

    @property
    def word(self) -> str:
        """Names the view in files, tables and a study's `score`."""
        if self.layer is None:
            return self.pooling
        layer = "mean_layers" if self.layer == "mean" else f"layer{self.layer}"
        return f"{layer}.{self.pooling}"


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views that a probe examines, each apart.

    Poolings: `mean` over all tokens of a clip; `mean_std` adds their standard deviation;
    `concat_freq` is the mean over time in each row of the grid, the rows side by side, as in M2D
    (https://arxiv.org/abs/2210.14648): averaging the rows loses what tells pitches apart; `max`
    over all tokens; `summary`, the encoder's own summary token; `attentive` gives every token to
    a probe that learns to weigh them. Layers: `last` is after the last norm; `mean` of all
    layers and `each` layer by itself are before it.
    """

    poolings: tuple[Pooling, ...] = field(default=USUAL, metadata={AS_BEFORE: list(USUAL)})
    layers: tuple[Layers, ...] = field(default=("last",), metadata={AS_BEFORE: ["last"]})

    def __post_init__(self) -> None:
        for name, chosen in (("poolings", self.poolings), ("layers", self.layers)):
            if not chosen or len(set(chosen)) < len(chosen):
                raise ValueError(f"`{name}` must name one or more, each once; got {list(chosen)}")
        if SUMMARY in self.poolings and self.layers != ("last",):
            raise ValueError(
                "`summary` is the last layer's; leave `layers` out or take another pooling"
            )

    def of(self, num_layers: int) -> tuple[View, ...]:
        """Lists the views of an encoder of so many layers, layer by layer."""
        found: list[View] = []
        for layers in self.layers:
            chosen: dict[str, list[int | Literal["mean"] | None]] = {
                "last": [None],
                "mean": ["mean"],
                "each": [*range(1, num_layers + 1)],
            }
            found += [View(p, layer) for layer in chosen[layers] for p in self.poolings]
        return tuple(found)
