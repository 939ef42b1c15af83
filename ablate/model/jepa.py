"""The JEPA: a context encoder, a predictor, and the target that the predictor should match.

JEPA stands for joint-embedding predictive architecture. Assran et al., "Self-Supervised Learning
from Images with a Joint-Embedding Predictive Architecture", CVPR 2023.
https://arxiv.org/abs/2301.08243
"""

from torch import Tensor, nn

from ablate.core.random import StepRandom
from ablate.model.batching import Batching
from ablate.model.context_encoding import encode_visible, input_packing
from ablate.model.encoder import Encoder
from ablate.model.masking import Mask
from ablate.model.packing import real_rows
from ablate.model.prediction import Prediction
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import Predictor
from ablate.model.targets import Target
from ablate.model.transformer import initialise


class JEPA(nn.Module):
    """Predicts the targets of hidden patches from the visible ones.

    Args:
        encoder: The context encoder; its weights are set already.
        predictor: Predicts targets from context features; its weights are set here.
        target: Computes the values to predict; its weights are set already.
        seed: Seed of the predictor's initial weights.
    """

    def __init__(self, encoder: Encoder, predictor: Predictor, target: Target, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target = target
        self.seed = seed
        initialise(predictor, seed, "predictor")
        target.attach(predictor)

    @property
    def probed_encoder(self) -> Encoder:
        """The encoder to evaluate: the target's moving average, or else the context encoder."""
        return self.target.encoder or self.encoder

    def forward(
        self,
        patches: Tensor,
        mask: Mask,
        valid: Tensor,
        batching: Batching = "pack",
        *,
        rng: StepRandom | None = None,
        view: Tensor | None = None,
        progress: float = 0.0,
    ) -> Prediction:
        """Predicts the targets of a batch.

        Args:
            patches: `(clips, patches, pixels)` on the training device.
            mask: Context and targets per sample, on the CPU. There may be several samples per clip.
            valid: bool `(clips, patches)` on the CPU.
            batching: How samples with different numbers of visible patches share a batch.
            rng: Random numbers of the training step; by default those of step 0.
            view: What the context encoder sees instead of `patches`, of the same shape; the target
                is computed from `patches`.
            progress: The share of training that is done, in [0, 1].

        Raises:
            ValueError: A sample has no context or no target.
        """
        query = PredictionQuery(
            mask=mask,
            valid=valid,
            device=patches.device,
            by_block=self.predictor.by_block,
            padded=batching == "pad",
            rng=rng or StepRandom(self.seed, step=0),
            progress=progress,
        )
        seen = patches if view is None else view
        visible = encode_visible(self.encoder, seen, query.context, query, rng=query.rng)
        if visible.includes_hidden:
            read = mask.context if self.predictor.reads == "context" else query.target_union
            features = visible.select(read)
        else:  # with padding, the predictor expects the filler tokens, too
            features = visible.encoded.tokens
        predicted = self.predictor(features, query)
        if query.query_tokens.segments.filler is not None:
            predicted = predicted.index_select(0, real_rows(query.query_tokens, patches.device))
        return Prediction(
            query=query,
            predicted=predicted.float(),
            target_values=self.target(patches, query),
            visible=visible,
        )

    def update_target(self, momentum: float, progress: float = 0.0) -> None:
        """Moves the target towards the context encoder, by 1 - `momentum` of the distance.

        `progress` is the share of training that is done, in [0, 1].
        """
        self.target.update(self.encoder, momentum)
        self.target.finish_step(progress)

    def flops(self, query: PredictionQuery) -> int:
        """Counts the floating-point operations of a training step; see `step_flops`."""
        return step_flops(self.encoder, self.predictor, self.target, query)


def step_flops(
    encoder: Encoder, predictor: Predictor, target: Target, query: PredictionQuery
) -> int:
    """Counts the floating-point operations of a training step, 2 per multiply-add.

    Trained modules count three times, because a backward pass costs two forward passes; the target
    counts once. Only the query's masks are read: weights may be on the meta device.
    """
    trained = encoder.flops(input_packing(encoder, query.context, query)) + predictor.flops(query)
    return 3 * trained + target.flops(query)
