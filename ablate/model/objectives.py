"""Objectives: the distance between prediction and target, and how it is averaged.

`reduction` says what is weighted equally: every sample, whatever its number of targets; every
target patch (`token`); or every target block (`target`). With `sample` and `token`, a patch that
is predicted once for each of its blocks counts once: its distances are averaged first.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.core.device import on_device
from ablate.model.masking import Mask
from ablate.model.packing import pad_segments
from ablate.model.prediction_query import PredictionQuery
from ablate.parts import AS_BEFORE

Reduction = Literal["sample", "token", "target"]


@dataclass(frozen=True, kw_only=True)
class AbstractObjective(ABC):
    """A distance per target patch. Subclasses are frozen keyword-only dataclasses.

    With `utterance`, a distance between sample summaries is added: see
    `Prediction.utterance_loss`.

    A subclass implements `distance`, for example the mean absolute error of `L1`:

        return (predicted - target).abs().mean(dim=-1)

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.
    """

    # the loss of a batch is not the mean over its slices, so a batch must not be divided
    coupled: ClassVar[bool] = False
    discrete: ClassVar[bool] = False  # compares cluster scores with a one-hot cluster
    contrastive: ClassVar[bool] = False  # compares the targets of a sample with one another

    reduction: Reduction = field(default="sample", metadata={AS_BEFORE: "sample"})
    utterance: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    visible: float = field(default=1.0, metadata={AS_BEFORE: 1.0})

    def __post_init__(self) -> None:
        if self.visible < 0:
            raise ValueError(f"`visible` must not be negative; got {self.visible}")
        if self.utterance < 0:
            raise ValueError(f"`utterance` must not be negative; got {self.utterance}")

    @abstractmethod
    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        """Computes the distance of each prediction to its target, at least 0.

        Args:
            predicted: float32 `(tokens, dim)`. Tokens are `query.targets`, or `query.blocks` if
                blocks are predicted separately. For `utterance`, summaries: `(samples, dim)`.
            target: The same shape.
            query: Which patches the tokens are.

        Returns:
            `(tokens,)`.
        """

    def predict_from_mean(self, mean: Tensor) -> Tensor:
        """Turns `mean`, the mean of several targets, into a prediction of the same shape.

        Both are `(tokens, dim)`. By default the mean itself.
        """
        return mean

    def num_units(self, mask: Mask) -> int:
        """Counts the samples, target patches or blocks of `mask` that the loss averages over.

        The loss of a batch is the average over its slices, weighted by their number of units.
        """
        if self.reduction == "token":
            return int(mask.target_union.sum())
        if self.reduction == "target":
            return int(mask.targets.any(dim=-1).sum())
        return len(mask.context)


@dataclass(frozen=True, kw_only=True)
class SmoothL1(AbstractObjective):
    """Smooth L1, averaged over dimensions: squared below `beta`, absolute above.

    As in I-JEPA (https://arxiv.org/abs/2301.08243) and Sony's JEPA
    (https://arxiv.org/abs/2405.08679).

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.
        beta: Difference at which the loss becomes linear, in units of the target.

    Example:
        objective: {type: ablate.model.objectives.SmoothL1, beta: 1.0}
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"`beta` must be above 0; got {self.beta}")

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        distance = F.smooth_l1_loss(predicted, target, beta=self.beta, reduction="none")
        return distance.mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class L1(AbstractObjective):
    """Mean absolute error over dimensions, as in V-JEPA (https://arxiv.org/abs/2404.08471).

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.

    Example:
        objective: {type: ablate.model.objectives.L1, reduction: token}
    """

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        return (predicted - target).abs().mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class L2(AbstractObjective):
    """Mean squared error over dimensions, as in the paper of Audio-JEPA (but not in its code).

    https://arxiv.org/abs/2507.02915

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.

    Example:
        objective: {type: ablate.model.objectives.L2, reduction: token}
    """

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        return (predicted - target).square().mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Cosine(AbstractObjective):
    """Two minus twice the cosine similarity: the squared distance of unit vectors, 0 to 4.

    As in M2D (Niizumi et al., ICASSP 2023, https://arxiv.org/abs/2210.14648) and in the released
    code of Audio-JEPA (https://github.com/LudovicTuncay/Audio-JEPA).

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.

    Example:
        objective: {type: ablate.model.objectives.Cosine, reduction: token}
    """

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        return 2 - 2 * F.cosine_similarity(predicted, target, dim=-1)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(AbstractObjective):
    """Cross entropy, in nats, between predicted scores and a cluster of a `Codebook`.

    Scores and targets are `(tokens, clusters)`. As in HuBERT (Hsu et al., 2021,
    https://arxiv.org/abs/2106.07447) and BEATs (Chen et al., ICML 2023,
    https://arxiv.org/abs/2212.09058).

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.
        codebooks: Number of codebooks of the target; the loss is the sum over them.

    Example:
        objective: {type: ablate.model.objectives.CrossEntropy, reduction: token}
    """

    discrete = True

    codebooks: int = field(default=1, metadata={AS_BEFORE: 1})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codebooks < 1:
            raise ValueError(f"`codebooks` must be at least 1; got {self.codebooks}")

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        if self.codebooks == 1:
            return -(predicted.log_softmax(dim=-1) * target).sum(dim=-1)
        shape = (*predicted.shape[:-1], self.codebooks, -1)
        scores = predicted.reshape(shape).log_softmax(dim=-1)
        return -(scores * target.reshape(shape)).sum(dim=(-2, -1))

    def predict_from_mean(self, mean: Tensor) -> Tensor:
        return (mean + 1e-6).log()  # avoids an infinite loss at clusters that never occurred


@dataclass(frozen=True, kw_only=True)
class InfoNCE(AbstractObjective):
    """Contrastive loss: identifies the target among distractors by cosine similarity.

    Cross entropy, in nats. Distractors are other targets of the same sample; a sample with only
    one target has loss 0.
    Baevski et al., "wav2vec 2.0", NeurIPS 2020, sec. 3.2. https://arxiv.org/abs/2006.11477
    Unlike the paper: the samples of a step share one table of random numbers, one per patch of the
    grid and distractor, so that the draws do not depend on how a batch is sliced.

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Weight of the distance between sample summaries; 0 for none.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.
        distractors: Number of distractors per target, drawn with replacement.
        temperature: Divisor of the cosine similarities.

    Example:
        objective: {type: ablate.model.objectives.InfoNCE, distractors: 100, temperature: 0.1}
    """

    contrastive = True

    distractors: int = 100
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distractors < 1:
            raise ValueError(f"`distractors` must be at least 1; got {self.distractors}")
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be above 0; got {self.temperature}")

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        segments, place = query.targets.segments, query.targets.place
        unit, unit_target = (
            pad_segments(F.normalize(part, dim=-1), segments) for part in (predicted, target)
        )
        similarity = (unit @ unit_target.transpose(1, 2)).flatten(0, 1) / self.temperature
        real = on_device(segments.rows, place.device)
        similarity = similarity.index_select(0, real)  # (target tokens, longest sample)
        rank = (real % segments.real.shape[1]).unsqueeze(1)
        num_others = on_device(torch.tensor(segments.lengths), place.device) - 1
        num_others = num_others.repeat_interleave(
            num_others + 1, output_size=segments.num_tokens
        ).unsqueeze(1)
        table = torch.rand(
            (query.targets.patches, self.distractors),
            generator=query.generator("distractors"),
        )
        uniform = on_device(table, place.device).index_select(0, place)
        drawn = (uniform * num_others).long()
        drawn += drawn >= rank  # skips the target itself
        negatives = similarity.gather(1, drawn.minimum(num_others))
        negatives = negatives.masked_fill(num_others == 0, -torch.inf)  # only one target
        return -torch.cat([similarity.gather(1, rank), negatives], dim=1).log_softmax(dim=1)[:, 0]
