"""The JEPA: a context encoder, a predictor, and a target for what is predicted.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023. https://arxiv.org/abs/2301.08243
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ablate.model.batching import Batching
from ablate.model.encoder import Encoder
from ablate.model.masking import Mask
from ablate.model.objectives import AbstractObjective, mean_per_sample
from ablate.model.packing import Packing, pack, pad, real_rows
from ablate.model.predictor import Predictor
from ablate.model.targets import Target
from ablate.model.transformer import initialise


@dataclass(frozen=True)
class Prediction:
    """What was predicted for a batch, and what it should have been."""

    predicted: Tensor  # float32 (target tokens, dim)
    target: Tensor  # float32 (target tokens, dim), normalised, without gradient
    context: Packing
    targets: Packing
    asked: Packing  # the targets as the predictor was given them: maybe padded
    whole: Packing  # every real patch
    target_flops: int  # of making the target

    def loss(self, objective: AbstractObjective) -> Tensor:
        """Returns the mean over samples of the mean distance over their targets."""
        return self.against(self.predicted, objective)

    def against(self, predicted: Tensor, objective: AbstractObjective) -> Tensor:
        """The loss that another prediction of the same targets would have."""
        distance = objective.distance(predicted, self.target)
        return mean_per_sample(distance, self.targets.owner, self.targets.segments.lengths)


class JEPA(nn.Module):
    """Predicts the target of hidden patches from the visible ones.

    The encoder's weights are set already, and those of its target; the predictor's are set here.
    """

    def __init__(self, encoder: Encoder, predictor: Predictor, target: Target, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target = target
        initialise(predictor, seed, "predictor")

    @property
    def probed(self) -> Encoder:
        """The encoder that training is for: the target's, where it has one that follows."""
        return self.target.encoder or self.encoder

    def forward(
        self, patches: Tensor, mask: Mask, valid: Tensor, batching: Batching = "pack"
    ) -> Prediction:
        """Takes (clips, patches, pixels) on the device; `mask` and `valid` lie on the CPU.

        The mask may hold several samples per clip; the target sees each clip once.
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
        return Prediction(
            predicted.float(),
            self.target(patches, valid, union, copies),
            context,
            targets,
            asked,
            pack(valid, device),
            self.target.flops(valid, union, copies),
        )

    def follow(self, momentum: float) -> None:
        """Moves the target towards the context encoder, by as much as 1 - `momentum`."""
        self.target.follow(self.encoder, momentum)

    def flops(self, prediction: Prediction) -> int:
        """Counts a training step: forward once, backward twice, and the target once."""
        learning = self.encoder.flops(prediction.context)
        learning += self.predictor.flops(prediction.context, prediction.asked)
        return 3 * learning + prediction.target_flops
