"""Objectives: how far what is predicted is from its target, and what is averaged.

`reduction` says what counts alike: every sample, so that one with many targets counts as one
with few; every target patch; or every target block. A patch that is predicted once for each of
its blocks counts once: its distances are averaged first.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.device import on_device
from ablate.model.masking import Mask
from ablate.model.packing import spread
from ablate.model.prediction_query import Question
from ablate.parts import AS_BEFORE

Reduction = Literal["sample", "token", "target"]


@dataclass(frozen=True, kw_only=True)
class AbstractObjective(ABC):
    """A distance per target patch. Subclasses are frozen keyword-only dataclasses.

    With `utterance`, the distance of sample summaries is added: see `Prediction.utterance_loss`.
    """

    coupled: ClassVar[bool] = False  # its loss of a batch is no mean over parts of the batch
    discrete: ClassVar[bool] = False  # it compares scores of clusters with a cluster
    together: ClassVar[bool] = False  # it compares the targets of a sample with one another

    reduction: Reduction = field(default="sample", metadata={AS_BEFORE: "sample"})
    utterance: float = field(default=0.0, metadata={AS_BEFORE: 0.0})  # weight of the summaries'

    def __post_init__(self) -> None:
        if self.utterance < 0:
            raise ValueError(f"`utterance` must not be negative; got {self.utterance}")

    @abstractmethod
    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        """Compares float32 (tokens, dim) with targets of that shape; gives (tokens,), 0 or more.

        Tokens are the question's `targets`, or its `blocks` where it is asked by block. Summaries
        are compared with it, too: (samples, dim).
        """

    def guess(self, mean: Tensor) -> Tensor:
        """Turns the mean of some targets, (tokens, dim), into a prediction of that shape."""
        return mean

    def units(self, mask: Mask) -> int:
        """Counts the samples, target patches or blocks of a mask that the loss is a mean over.

        The loss of a batch is the sum over its slices of the slice's loss times its share of
        the batch's units.
        """
        if self.reduction == "token":
            return int(mask.target_union.sum())
        if self.reduction == "target":
            return int(mask.targets.any(dim=-1).sum())
        return len(mask.context)


@dataclass(frozen=True, kw_only=True)
class SmoothL1(AbstractObjective):
    """Smooth L1, as in I-JEPA and the Sony JEPA: squared below `beta`, absolute above.

    The mean over dimensions. https://arxiv.org/abs/2301.08243, https://arxiv.org/abs/2405.08679
    """

    beta: float = 1.0  # a difference of one dimension, in the target's unit

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"`beta` must be above 0; got {self.beta}")

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        apart = F.smooth_l1_loss(predicted, target, beta=self.beta, reduction="none")
        return apart.mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class L1(AbstractObjective):
    """Mean absolute error over dimensions, as in V-JEPA (https://arxiv.org/abs/2404.08471)."""

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        return (predicted - target).abs().mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class L2(AbstractObjective):
    """Mean squared error over dimensions, as in the text of Audio-JEPA, not in its code.

    https://arxiv.org/abs/2507.02915
    """

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        return (predicted - target).square().mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Cosine(AbstractObjective):
    """Two minus twice the cosine: the squared distance of unit vectors, from 0 to 4.

    As in M2D (Niizumi et al., ICASSP 2023, https://arxiv.org/abs/2210.14648) and in what
    Audio-JEPA shipped (https://github.com/LudovicTuncay/Audio-JEPA).
    """

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        return 2 - 2 * F.cosine_similarity(predicted, target, dim=-1)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(AbstractObjective):
    """Cross entropy of predicted scores, in nats, against a cluster of a `Codebook`.

    Scores and targets are (tokens, clusters). As in HuBERT (Hsu et al., 2021,
    https://arxiv.org/abs/2106.07447) and BEATs (Chen et al., ICML 2023,
    https://arxiv.org/abs/2212.09058).
    """

    discrete = True

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        return -(predicted.log_softmax(dim=-1) * target).sum(dim=-1)

    def guess(self, mean: Tensor) -> Tensor:
        return (mean + 1e-6).log()  # a cluster never seen in a place would cost an infinity


@dataclass(frozen=True, kw_only=True)
class InfoNCE(AbstractObjective):
    """Tells the target by its cosine from distractors, which are other targets of its sample.

    The cross entropy, in nats. A sample with one target has nothing to tell it from, and costs 0.
    Baevski et al., "wav2vec 2.0", NeurIPS 2020, sec. 3.2. https://arxiv.org/abs/2006.11477
    Unlike it: the samples of a step share one table of random numbers, an entry for each patch of
    the grid and each distractor, so that any slice of a batch draws what the whole draws.
    """

    together = True

    distractors: int = 100  # per target, drawn with replacement
    temperature: float = 0.1  # that cosines are divided by

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distractors < 1:
            raise ValueError(f"`distractors` must be at least 1; got {self.distractors}")
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be above 0; got {self.temperature}")

    def distance(self, predicted: Tensor, target: Tensor, question: Question) -> Tensor:
        segments, place = question.targets.segments, question.targets.place
        one, other = (spread(F.normalize(part, dim=-1), segments) for part in (predicted, target))
        similar = (one @ other.transpose(1, 2)).flatten(0, 1) / self.temperature
        real = on_device(segments.rows, place.device)
        similar = similar.index_select(0, real)  # of each target with all of its sample
        rank = (real % segments.real.shape[1]).unsqueeze(1)
        others = on_device(torch.tensor(segments.lengths), place.device) - 1
        others = others.repeat_interleave(others + 1, output_size=segments.total).unsqueeze(1)
        table = torch.rand(
            (question.targets.patches, self.distractors),
            generator=question.generator("distractors"),
        )
        uniform = table.to(place.device, non_blocking=True).index_select(0, place)
        drawn = (uniform * others).long()
        drawn += drawn >= rank  # passes over the target itself
        against = similar.gather(1, drawn.minimum(others))
        against = against.masked_fill(others == 0, -torch.inf)  # nothing to tell it from
        return -torch.cat([similar.gather(1, rank), against], dim=1).log_softmax(dim=1)[:, 0]
