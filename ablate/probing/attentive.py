"""The attentive probe: it learns which tokens of a clip to look at, and what they tell.

Chen et al., "Context Autoencoder for Self-Supervised Representation Learning", IJCV 2024, sec.
4. https://arxiv.org/abs/2202.03026; used for JEPA by Bardes et al., 2024.
https://arxiv.org/abs/2404.08471
Unlike these: one query for each head and no projection after it, so that the probe stays small.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ablate.model.transformer import initialise
from ablate.probing.metrics import Scores
from ablate.probing.probe import Lesson
from ablate.probing.tasks import Indices
from ablate.probing.training import AbstractTrained, Read, learn
from ablate.probing.views import TOKENS, Views


@dataclass(frozen=True, kw_only=True)
class Attentive(AbstractTrained):
    """Weighs the tokens of a clip by learned queries, one a head, then classifies linearly.

    It reads all tokens from disk as it learns. The epoch is chosen as `Linear` chooses it.
    """

    views: Views = field(default_factory=lambda: Views(poolings=(TOKENS,)))
    heads: int = 4
    choice: Literal["valid", "last"] = "valid"  # which epoch: the best on validation, or the last

    reads_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1:
            raise ValueError(f"`heads` must be at least 1; got {self.heads}")

    @property
    def chooses(self) -> bool:
        return self.choice == "valid"

    def predict(self, lesson: Lesson) -> Scores:
        model = AttentivePooling(lesson.features.shape[1], self.heads, lesson.classes)
        initialise(model, lesson.seed, "probe")
        return learn(model, lesson, _tokens(lesson), self.schedule, choose=self.chooses)


class AttentivePooling(nn.Module):
    """Tokens (items, tokens, dim), of which `real` (items, tokens) are no padding, to logits.

    These are (items, classes). Every item must have a real token.
    """

    def __init__(self, dim: int, heads: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        # a query times a projected key is one linear function of the token for each head
        self.weigh = nn.Linear(dim, heads, bias=False)
        self.value = nn.Linear(dim, -(-dim // heads) * heads)
        self.tell = nn.Linear(self.value.out_features, classes)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        lifted = self.weigh(tokens).masked_fill(~real.unsqueeze(2), -torch.inf)
        weights = lifted.softmax(dim=1)
        values = rearrange(
            self.value(tokens),
            "items tokens (heads dim) -> items tokens heads dim",
            heads=weights.shape[2],
        )
        pooled = einsum(
            weights, values, "items tokens heads, items tokens heads dim -> items heads dim"
        )
        told: Tensor = self.tell(rearrange(pooled, "items heads dim -> items (heads dim)"))
        return told


def _tokens(lesson: Lesson) -> Read:
    bounds = lesson.bounds
    assert bounds is not None

    def read(items: Indices) -> tuple[Tensor, ...]:
        counts = bounds[items + 1] - bounds[items]
        tokens = np.zeros((len(items), counts.max(), lesson.features.shape[1]), dtype=np.float32)
        for row, (item, count) in enumerate(zip(items, counts, strict=True)):
            tokens[row, :count] = lesson.features[bounds[item] : bounds[item] + count]
        real = torch.arange(tokens.shape[1]) < torch.from_numpy(counts).unsqueeze(1)
        return torch.from_numpy(tokens), real

    return read
