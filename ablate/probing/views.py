"""Views: from which layer of a frozen encoder features are taken, and how they are pooled.

The name of a view is used in a study's `score` and in score files: `concat_freq` pools the tokens
after the last norm, `layer3.concat_freq` the output of the third layer, and
`mean_layers.concat_freq` the mean over the outputs of all layers, `concat_layers.concat_freq` all
of them side by side; the latter three are taken before that norm.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from ablate.parts import AS_BEFORE

Pooling = Literal[
    "mean",
    "mean_std",
    "concat_freq",
    "max",
    "mean_max",
    "deltas",
    "segments2",
    "segments4",
    "segments8",
    "segments4_freq",
    "summary",
    "attentive",
    "modulation",
]
Layers = Literal["last", "mean", "each", "concat"]
MODULATION: Pooling = "modulation"  # only log-mel statistics have it
POOLINGS: tuple[Pooling, ...] = tuple(p for p in get_args(Pooling) if p != MODULATION)
DELTAS: Pooling = "deltas"
# number of stretches
SEGMENTS: dict[Pooling, int] = {"segments2": 2, "segments4": 4, "segments8": 8, "segments4_freq": 4}
SEGMENTS_BY_ROW: frozenset[Pooling] = frozenset({"segments4_freq"})
SUMMARY: Pooling = "summary"  # the encoder's own summary token, one per window
PER_CLIP: frozenset[Pooling] = frozenset({SUMMARY, DELTAS, *SEGMENTS})  # none of a moment
TOKENS: Pooling = "attentive"  # all tokens, for a probe that learns to weigh them
DEFAULT_POOLINGS: tuple[Pooling, ...] = ("mean", "mean_std", "concat_freq")


@dataclass(frozen=True)
class View:
    """One layer under one pooling. `layer` counts from 1; None means after the last norm."""

    pooling: Pooling
    layer: int | Literal["mean", "concat"] | None = None

    @property
    def name(self) -> str:
        """The name of the view in files, tables and a study's `score`."""
        if self.layer is None:
            return self.pooling
        layer = f"layer{self.layer}" if isinstance(self.layer, int) else f"{self.layer}_layers"
        return f"{layer}.{self.pooling}"


def parse_view(name: str) -> View:
    """Returns the view of a name, such as `layer3.concat_freq`. Raises `ValueError`."""
    layer, _, pooling = name.rpartition(".")
    number = re.fullmatch(r"layer([1-9]\d*)", layer)
    if pooling not in POOLINGS or not (layer in ("", "mean_layers", "concat_layers") or number):
        raise ValueError(
            f"there is no view `{name}`; write a pooling ({', '.join(POOLINGS)}), alone or after "
            "`layer3.`, `mean_layers.` or `concat_layers.`"
        )
    if number:
        return View(pooling, int(number[1]))
    named: dict[str, Literal["mean", "concat"]] = {"mean_layers": "mean", "concat_layers": "concat"}
    return View(pooling, named.get(layer))


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views that a probe scores, each separately.

    Poolings:
        `mean`: mean over all tokens of a clip.
        `mean_std`: mean and standard deviation over all tokens.
        `concat_freq`: mean over time in each row of the grid, rows concatenated, as in M2D
            (https://arxiv.org/abs/2210.14648). A mean over rows would lose the pitch.
        `max`: maximum over all tokens.
        `mean_max`: sum of mean and maximum over all tokens, as in BYOL-A
            (https://arxiv.org/abs/2103.06695).
        `deltas`: mean and standard deviation over all tokens, and the standard deviations of the
            first and second differences between neighbours in time, within a window.
        `segments2`, `segments4`, `segments8`: mean and standard deviation in each of so many
            equal stretches of a clip, side by side. They keep the order in time, but also where in
            the clip a sound lies. A stretch without a token is 0.
        `segments4_freq`: as `segments4`, but in each row of the grid, rows concatenated. Log-mels
            keep their bands apart by every pooling; so read, an encoder of several rows does, too.
        `summary`: the encoder's own summary token.
        `attentive`: all tokens, for a probe that learns to weigh them.

    Layers:
        `last`: after the last norm.
        `mean`: mean over all layers, before the last norm.
        `each`: every layer separately, before the last norm.
        `concat`: all layers side by side, before the last norm, as in EVAR
            (https://arxiv.org/abs/2210.14648); a probe can weigh them (`Linear(weigh_layers)`).

    Args:
        poolings: How the tokens of a clip are pooled.
        layers: From which layers tokens are taken.

    Example:
        probes: {knn: {type: ablate.probing.knn.KNN,
          views: {layers: [last, each], poolings: [mean, concat_freq]}}}
    """

    poolings: tuple[Pooling, ...] = field(
        default=DEFAULT_POOLINGS, metadata={AS_BEFORE: list(DEFAULT_POOLINGS)}
    )
    layers: tuple[Layers, ...] = field(default=("last",), metadata={AS_BEFORE: ["last"]})

    def __post_init__(self) -> None:
        if MODULATION in self.poolings:
            raise ValueError(
                f"`{MODULATION}` is a baseline on log-mels that every report has; remove it from "
                "`poolings`"
            )
        for name, chosen in (("poolings", self.poolings), ("layers", self.layers)):
            if not chosen or len(set(chosen)) < len(chosen):
                raise ValueError(f"`{name}` must name one or more, each once; got {list(chosen)}")
        if SUMMARY in self.poolings and self.layers != ("last",):
            raise ValueError(
                "`summary` exists only in the last layer; remove `layers` or use another pooling"
            )

    def expand(self, num_layers: int) -> tuple[View, ...]:
        """Lists the views of an encoder with `num_layers` layers, layer by layer."""
        views: list[View] = []
        for layers in self.layers:
            chosen: dict[str, list[int | Literal["mean", "concat"] | None]] = {
                "last": [None],
                "mean": ["mean"],
                "concat": ["concat"],
                "each": [*range(1, num_layers + 1)],
            }
            views += [View(p, layer) for layer in chosen[layers] for p in self.poolings]
        return tuple(views)
