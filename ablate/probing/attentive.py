"""The attentive probe: learned queries weigh the tokens of a clip before a linear classifier.

Chen et al., "Context Autoencoder for Self-Supervised Representation Learning", IJCV 2024, sec.
4. https://arxiv.org/abs/2202.03026; used for JEPA by Bardes et al., 2024.
https://arxiv.org/abs/2404.08471
Unlike these: one query per head and no output projection, to keep the probe small.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ablate.audio.annotations import LabelKind
from ablate.model.transformer import initialise
from ablate.probing.metrics import Scores
from ablate.probing.probe import CLASSES, NUMBERS, ProbeData
from ablate.probing.tasks import Indices
from ablate.probing.training import AbstractTrainedProbe, ReadItems, train_and_predict
from ablate.probing.views import TOKENS, Views


@dataclass(frozen=True, kw_only=True)
class Attentive(AbstractTrainedProbe):
    """Weighs the tokens of a clip by learned queries, one per head, then classifies linearly.

    Tokens are read from disk during training. The epoch is selected as in `Linear`.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        rate: Learning rate of Adam at the start.
        batch: Items (clips or moments) per step.
        epochs: Passes over the training items.
        seeds: Number of trainings; the score is their mean.
        heads: Number of learned queries.
        choice: Epoch whose weights are used: the best on validation items, or the last.

    Example:
        probes: {attentive: {type: ablate.probing.attentive.Attentive, heads: 4}}
    """

    views: Views = field(default_factory=lambda: Views(poolings=(TOKENS,)))
    heads: int = 4
    choice: Literal["valid", "last"] = "valid"

    kinds: ClassVar[frozenset[LabelKind]] = CLASSES | NUMBERS
    reads_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1:
            raise ValueError(f"`heads` must be at least 1; got {self.heads}")

    @property
    def needs_validation(self) -> bool:
        return self.choice == "valid"

    def predict(self, data: ProbeData) -> Scores:
        model = AttentivePooling(data.features.shape[1], self.heads, data.num_classes)
        initialise(model, data.seed, "probe")
        return train_and_predict(
            model, data, create_token_reader(data), self.schedule, select=self.needs_validation
        )


class AttentivePooling(nn.Module):
    """Attention pooling and a linear classifier.

    Maps tokens (items, tokens, dim) and `real` (items, tokens), False for padding, to logits
    (items, classes). Every item must have a real token.
    """

    def __init__(self, dim: int, heads: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        # a query times a projected key is one linear function of the token per head
        self.weigh = nn.Linear(dim, heads, bias=False)
        self.value = nn.Linear(dim, -(-dim // heads) * heads)
        self.tell = nn.Linear(self.value.out_features, classes)  # initial weights depend on names

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        weights = self.weigh(tokens).masked_fill(~real.unsqueeze(2), -torch.inf).softmax(dim=1)
        values = rearrange(
            self.value(tokens),
            "items tokens (heads dim) -> items tokens heads dim",
            heads=weights.shape[2],
        )
        pooled = einsum(
            weights, values, "items tokens heads, items tokens heads dim -> items heads dim"
        )
        logits: Tensor = self.tell(rearrange(pooled, "items heads dim -> items (heads dim)"))
        return logits


def create_token_reader(data: ProbeData) -> ReadItems:
    """Returns a function that reads the tokens of items, padded, and which of them are real."""
    bounds = data.bounds
    assert bounds is not None

    def read(items: Indices) -> tuple[Tensor, ...]:
        counts = bounds[items + 1] - bounds[items]
        tokens = np.zeros((len(items), counts.max(), data.features.shape[1]), dtype=np.float32)
        for row, (item, count) in enumerate(zip(items, counts, strict=True)):
            tokens[row, :count] = data.features[bounds[item] : bounds[item] + count]
        real = torch.arange(tokens.shape[1]) < torch.from_numpy(counts).unsqueeze(1)
        return torch.from_numpy(tokens), real

    return read
