"""Fine-tuning: an encoder learns a task's labels itself, from where pre-training left it.

It scores a run as a probe does, on the same splits and folds, and leaves the run as it is.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.audio.loader import Batch, cut_windows
from ablate.core.random import StepRandom, derive, generator
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack
from ablate.model.transformer import Transformer, initialise
from ablate.probing.features import Heard, Reader
from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, Lesson
from ablate.probing.tasks import Indices
from ablate.probing.views import Pooling, Views
from ablate.training.augmentation import AbstractAugmentation, LabelledBatch
from ablate.training.schedules import warm_cosine

POOLINGS: tuple[Pooling, ...] = ("mean", "concat_freq", "summary")


@dataclass(frozen=True, kw_only=True)
class FineTuning(AbstractProbe):
    """Trains a copy of the encoder with a linear head on its pooled tokens.

    In a step each clip shows one of its windows, as long as a crop of pre-training; classes are
    predicted by the mean over all windows of a clip. The last weights are used: nothing is chosen
    on held-out clips. Head, order and windows are drawn by the seeds of the run and of the probe:
    an interval over runs holds their luck, too, and two treatments of one run share it. A layer's
    rate is `layer_decay` times that of the layer above it, as in BEiT (Bao et al., ICLR 2022.
    https://arxiv.org/abs/2106.08254).
    """

    views: Views = field(default_factory=lambda: Views(poolings=("mean",)))
    augmentation: AbstractAugmentation | None = None
    steps: int = 500
    batch: int = 16  # clips, one window each
    rate: float = 1e-3  # of the head, at its peak
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.05  # not of norms and biases
    layer_decay: float = 0.75  # 1 gives every layer the rate of the head
    frozen: int = 0  # layers, from the first on; where any is, so is what comes before the layers
    seeds: int = 1  # how many times it learns, each with another head and order of clips

    version: ClassVar[int] = 2  # 1: every run had the same head, order of clips and windows
    standardises: ClassVar[bool] = False
    hears: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := [pooling for pooling in self.views.poolings if pooling not in POOLINGS]:
            raise ValueError(f"`views.poolings`: {wrong} cannot be learnt through; use {POOLINGS}")
        if self.views.layers != ("last",):
            raise ValueError("`views.layers` must be [last]: what is fine-tuned is the whole")
        for name in ("steps", "batch", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        for name in ("rate", "weight_decay", "frozen"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1 or not 0 <= self.warmup < 1:
            raise ValueError(
                "`layer_decay` must lie in (0, 1] and `warmup` in [0, 1); "
                f"got {self.layer_decay} and {self.warmup}"
            )

    @property
    def num_seeds(self) -> int:
        return self.seeds

    def predict(self, lesson: Lesson) -> Scores:
        heard = lesson.heard
        assert heard is not None
        pupil = Pupil(heard.reader.encoder, heard.view.pooling, heard.reader.grid, lesson.classes)
        seed = derive(heard.seed, "fine-tuning", lesson.seed)
        initialise(pupil.head, seed, "fine-tuning")
        pupil.to(heard.reader.device)
        self._learn(pupil, lesson, heard, seed)
        return _told(pupil, lesson, heard)

    def _learn(self, pupil: "Pupil", lesson: Lesson, heard: Heard, seed: int) -> None:
        groups = rates(pupil, self.layer_decay, self.frozen)
        adamw = torch.optim.AdamW(groups, lr=self.rate, weight_decay=self.weight_decay)
        order = _order(lesson.known, self.batch, seed)
        for step, items in zip(range(self.steps), order, strict=False):
            rng = StepRandom(seed, step)
            exercise = _exercise(items, lesson, heard, rng)
            if self.augmentation is not None:
                exercise = self.augmentation(exercise, rng)
            rate = warm_cosine(self.rate, step, self.steps, self.warmup)
            for group in adamw.param_groups:
                group["lr"] = rate * group["share"]
            adamw.zero_grad()
            told = pupil(*_shown(exercise, heard.reader), rng)
            loss_of = F.binary_cross_entropy_with_logits if lesson.several else F.cross_entropy
            loss = loss_of(told, exercise.labels.to(told.device))
            loss.backward()  # type: ignore[no-untyped-call]
            adamw.step()


class Pupil(nn.Module):
    """A copy of an encoder, and a head: (windows, patches, pixels) to logits (windows, classes).

    Raises `ValueError` where summaries are pooled and the encoder has none.
    """

    def __init__(self, encoder: Encoder, pooling: Pooling, grid: Grid, classes: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=True)
        self._pooling = pooling
        self._grid = grid
        width = encoder.dim * (grid.freq if pooling == "concat_freq" else 1)
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(width), "tell": nn.Linear(width, classes)})

    def forward(self, patches: Tensor, packing: Packing, rng: StepRandom | None = None) -> Tensor:
        encoded = self.encoder(patches, packing, rng=rng)
        if self._pooling == "summary":
            if encoded.summary is None:
                raise ValueError("this encoder has no summary token; take another of `views`")
            pooled = encoded.summary
        else:
            pooled = self._pooled(encoded.tokens, packing)
        told: Tensor = self.head["tell"](self.head["norm"](pooled))
        return told

    def _pooled(self, tokens: Tensor, packing: Packing) -> Tensor:
        """The mean over a window's tokens, or over each row of its grid, side by side."""
        rows = self._grid.freq if self._pooling == "concat_freq" else 1
        windows = len(packing.segments.lengths)
        row = packing.owner * rows
        if rows > 1:
            row = row + packing.place // self._grid.time
        total = tokens.new_zeros(windows * rows, tokens.shape[1]).index_add(0, row, tokens)
        count = tokens.new_zeros(windows * rows).index_add(0, row, tokens.new_ones(len(row)))
        return (total / count.clamp(min=1).unsqueeze(1)).view(windows, -1)


def rates(pupil: Pupil, decay: float, frozen: int) -> list[dict[str, Any]]:
    """Groups what learns by its share of the rate, and freezes the first `frozen` layers.

    The head has all of it, and with it a transformer's own norm where that is the last thing; each
    layer has `decay` times what the one above has, and what comes before the layers least. Norms,
    biases and other vectors do not decay. Returns groups for a torch optimiser, with the `share` of
    each beside its `params`.
    """
    names = dict(pupil.named_parameters())
    layers = 1 + max((_layer(name) for name in names), default=-1)
    transformer = getattr(pupil.encoder, "transformer", None)
    norm_last = isinstance(transformer, Transformer) and not transformer.norm_first
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in names.items():
        depth = layers + 1 if name.startswith("head.") else _layer(name) + 1
        if norm_last and name.startswith("encoder.transformer.norm."):
            depth = layers + 1
        if frozen > 0 and depth <= min(frozen, layers):
            parameter.requires_grad = False
            continue
        key = (decay ** (layers + 1 - depth), parameter.dim() >= 2)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": some, "share": share, **({} if decays else {"weight_decay": 0.0})}
        for (share, decays), some in groups.items()
    ]


def _layer(name: str) -> int:
    """The layer that a parameter belongs to, from 0; -1 for what comes before all layers."""
    found = re.search(r"^encoder\.(?:transformer\.)?layers\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _order(known: Indices, batch: int, seed: int) -> Iterator[Indices]:
    """Yields batches epoch after epoch, without end; the last of an epoch may be smaller."""
    epoch = 0
    while True:
        order = torch.randperm(len(known), generator=generator(seed, "fine-tuning order", epoch))
        for piece in torch.split(order, batch):
            yield known[piece.numpy()]
        epoch += 1


def _exercise(items: Indices, lesson: Lesson, heard: Heard, rng: StepRandom) -> LabelledBatch:
    """One window of each clip, with its labels."""
    crop = heard.reader.crop_frames
    drawn = rng.uniform(len(items), "window").tolist()
    batches = []
    for item, share in zip(items, drawn, strict=True):
        starts = range(0, int(heard.store.lengths[heard.clips[item]]), crop)
        chosen = int(share * len(starts))
        batches.append(_windows(heard, int(item), starts[chosen : chosen + 1]))
    batch = _together(batches)
    labels = torch.from_numpy(lesson.labels[items])
    if not lesson.several:
        labels = F.one_hot(labels, lesson.classes)
    return LabelledBatch(batch.mels, labels.float(), _member(batch, heard.reader))


def _shown(exercise: LabelledBatch, reader: Reader) -> tuple[Tensor, Packing]:
    """Cuts a batch and packs what of it is shown, barred from itself where it says so."""
    packing = pack(exercise.visible, reader.device)
    if exercise.no_self_attention is not None:
        barred = exercise.no_self_attention[exercise.visible]
        packing = replace(packing, segments=replace(packing.segments, exclude_self=barred))
    return reader.patchifier.cut(exercise.mels.to(reader.device)), packing


@torch.no_grad()
def _told(pupil: Pupil, lesson: Lesson, heard: Heard) -> Scores:
    """Tells the classes of what is asked, clip by clip."""
    told = []
    for item in lesson.asked:
        batch = _windows(heard, int(item), None)
        exercise = LabelledBatch(batch.mels, torch.zeros(0), _member(batch, heard.reader))
        logits = pupil(*_shown(exercise, heard.reader))
        shares = logits.sigmoid() if lesson.several else logits.softmax(dim=1)
        told.append(shares.mean(dim=0).cpu().numpy())
    scores: Scores = np.stack(told)
    return scores


def _windows(heard: Heard, item: int, starts: range | None) -> Batch:
    reader = heard.reader
    return cut_windows(
        heard.store, int(heard.clips[item]), reader.crop_frames, reader.normaliser, starts
    )


def _member(batch: Batch, reader: Reader) -> Tensor:
    return reader.patchifier.valid(batch.valid_frames, batch.mels.shape[1])


def _together(batches: list[Batch]) -> Batch:
    mels, valid_frames = zip(*((batch.mels, batch.valid_frames) for batch in batches), strict=True)
    return Batch(torch.cat(mels), torch.cat(valid_frames))
