"""The JEPA: a context encoder, a predictor, and a target for what is predicted.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023. https://arxiv.org/abs/2301.08243
"""

from torch import Tensor, nn

from ablate.core.random import StepRandom
from ablate.model.batching import Batching
from ablate.model.context_encoding import given, show
from ablate.model.encoder import Encoder
from ablate.model.masking import Mask
from ablate.model.packing import real_rows
from ablate.model.prediction import Prediction
from ablate.model.prediction_query import Question
from ablate.model.predictor import Predictor
from ablate.model.targets import Target
from ablate.model.transformer import initialise


class JEPA(nn.Module):
    """Predicts the target of hidden patches from the visible ones.

    The weights of encoder and target are set already; the predictor's are set here, from `seed`.
    """

    def __init__(self, encoder: Encoder, predictor: Predictor, target: Target, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target = target
        self.seed = seed
        initialise(predictor, seed, "predictor")

    @property
    def probed(self) -> Encoder:
        """The encoder that training is for: the target's moving average, where there is one."""
        return self.target.encoder or self.encoder

    def forward(
        self,
        patches: Tensor,
        mask: Mask,
        valid: Tensor,
        batching: Batching = "pack",
        *,
        rng: StepRandom | None = None,
    ) -> Prediction:
        """Predicts the targets of (clips, patches, pixels) that lie on the device.

        `mask` and `valid`, bool (clips, patches), lie on the CPU. The mask may hold several
        samples per clip. `rng` is that of the training step, by default of step 0. Raises
        `ValueError` for a sample without context or without target.
        """
        question = Question(
            mask=mask,
            valid=valid,
            device=patches.device,
            by_block=self.predictor.by_block,
            padded=batching == "pad",
            rng=rng or StepRandom(self.seed, step=0),
        )
        shown = show(self.encoder, patches, question.context, question, rng=question.rng)
        if shown.replaced:
            read = mask.context if self.predictor.reads == "context" else question.union
            features = shown.at(read)
        else:  # a padded predictor is given the filler, too
            features = shown.encoded.tokens
        predicted = self.predictor(features, question)
        if question.asked.segments.filler is not None:
            predicted = predicted.index_select(0, real_rows(question.asked, patches.device))
        return Prediction(
            question=question,
            predicted=predicted.float(),
            goal=self.target(patches, question),
            shown=shown,
        )

    def follow(self, momentum: float) -> None:
        """Moves the target towards the context encoder, by 1 - `momentum` of the way."""
        self.target.follow(self.encoder, momentum)

    def flops(self, question: Question) -> int:
        """Counts the floating-point operations of a training step; see `step_flops`."""
        return step_flops(self.encoder, self.predictor, self.target, question)


def step_flops(encoder: Encoder, predictor: Predictor, target: Target, question: Question) -> int:
    """Counts the floating-point operations of a training step, 2 per multiply-add.

    What learns counts three times, a backward pass being as much as two forward ones; the target
    counts once. The question tells all: the parts' weights may lie on the meta device.
    """
    learning = encoder.flops(given(encoder, question.context, question))
    return 3 * (learning + predictor.flops(question)) + target.flops(question)
