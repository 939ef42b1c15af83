"""The JEPA: a context encoder, a predictor, and a target encoder that follows by moving average.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023. https://arxiv.org/abs/2301.08243
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablate.model.batching import Batching
from ablate.model.encoder import Encoder
from ablate.model.masking import Mask
from ablate.model.objectives import AbstractObjective, mean_per_sample, normalise
from ablate.model.packing import Packing, pack, pad, real_rows, rows_of
from ablate.model.predictor import Predictor
from ablate.model.transformer import initialise


@dataclass(frozen=True)
class Prediction:
    """What was predicted for a batch, and what it should have been."""

    predicted: Tensor  # float32 (target tokens, dim)
    target: Tensor  # float32 (target tokens, dim), normalised, without gradient
    context: Packing
    targets: Packing
    asked: Packing  # the targets as the predictor was given them: maybe padded
    whole: Packing  # what the target encoder saw: every real patch

    def loss(self, objective: AbstractObjective) -> Tensor:
        """Returns the mean over samples of the mean distance over their targets."""
        return self.against(self.predicted, objective)

    def against(self, predicted: Tensor, objective: AbstractObjective) -> Tensor:
        """The loss that another prediction of the same targets would have."""
        distance = objective.distance(predicted, self.target)
        return mean_per_sample(distance, self.targets.owner, self.targets.segments.lengths)


class JEPA(nn.Module):
    """Predicts the target encoder's features of hidden patches from the visible ones."""

    def __init__(self, encoder: Encoder, predictor: Predictor, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        initialise(encoder, seed, "encoder")
        initialise(predictor, seed, "predictor")
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False)

    def forward(
        self, patches: Tensor, mask: Mask, valid: Tensor, batching: Batching = "pack"
    ) -> Prediction:
        """Takes (clips, patches, pixels) on the device; `mask` and `valid` lie on the CPU.

        The mask may hold several samples per clip; the target encoder sees each clip once.
        """
        device, union = patches.device, mask.target_union
        copies = len(union) // len(patches)
        targets = pack(union, device, copies=copies)
        context = pack(mask.context, device, copies=copies)
        if batching == "pad":
            context = pad(mask.context, device, copies=copies)
            asked = pad(union, device, copies=copies)
            seen = self.encoder(patches, context).tokens
            filled = self.predictor(seen, context, asked)
            predicted = filled.index_select(0, real_rows(asked, device))
        else:
            asked = targets
            seen = self.encoder(patches, context).tokens
            predicted = self.predictor(seen, context, targets)
        whole = pack(valid, device)
        with torch.no_grad():
            everything = self.target_encoder(patches, whole).tokens
            rows = rows_of(union, valid, device, copies=copies)
            target = everything.index_select(0, rows)
        return Prediction(predicted.float(), normalise(target), context, targets, asked, whole)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Moves the target encoder: target = momentum * target + (1 - momentum) * encoder.

        Weights are float32 whatever the autocast: at bfloat16, steps of 1e-4 would vanish.
        """
        targets: list[Tensor] = list(self.target_encoder.parameters())
        sources: list[Tensor] = list(self.encoder.parameters())
        torch._foreach_lerp_(targets, sources, 1 - momentum)

    def flops(self, prediction: Prediction) -> int:
        """Counts a training step: forward once, backward twice, and the target encoder once."""
        learning = self.encoder.flops(prediction.context)
        learning += self.predictor.flops(prediction.context, prediction.asked)
        return 3 * learning + self.target_encoder.flops(prediction.whole)
