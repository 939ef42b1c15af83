"""Fine-tuning: trains a copy of a run's encoder on the labels of a task.

It scores a run like a probe, on the same splits and folds, and does not change the run.
"""

import copy
import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.audio.loader import Batch, cut_windows
from ablate.core.device import on_device
from ablate.core.random import StepRandom, derive
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack
from ablate.model.transformer import Transformer, initialise
from ablate.parts import AS_BEFORE
from ablate.probing.features import FeatureExtractor, RawClips
from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.tasks import Indices
from ablate.probing.views import Pooling, Views
from ablate.training.augmentation import AbstractAugmentation, LabelledBatch
from ablate.training.clip_sampling import draw_balanced_clips, shuffle_clips
from ablate.training.schedules import warm_decay

POOLINGS: tuple[Pooling, ...] = ("mean", "concat_freq", "summary")


@dataclass(frozen=True, kw_only=True)
class FineTuning(AbstractProbe):
    """Trains a copy of the encoder with a linear head on its pooled tokens.

    A step uses one window per clip, as long as a crop of pre-training; a clip is predicted by the
    mean over all its windows. The final weights are used: nothing is selected on held-out clips.
    The head, the order of clips and the windows depend on the seeds of the run and of the probe, so
    an interval over runs includes their variance, and two treatments of one run share them. The
    learning rate of a layer is `layer_decay` times that of the layer above it, as in BEiT (Bao et
    al., ICLR 2022. https://arxiv.org/abs/2106.08254).

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
        augmentation: Changes each batch during training. If unset, nothing does.
        steps: Number of training steps.
        batch: Clips per step, one window each.
        rate: Peak learning rate of the head.
        warmup: Share of the steps in which the rate rises.
        weight_decay: Weight decay of matrices; norms and biases have none.
        layer_decay: Factor of the learning rate from each layer to the one below it; 1 for none.
        frozen: Number of layers to freeze, from the first one on; anything above 0 also freezes the
            stem.
        seeds: Number of trainings, each with another head and order of clips.
        sampling: How clips are drawn: `uniform`, all of them epoch after epoch; or `balanced`, with
            replacement, in proportion to the sum of 1 / number of clips over the classes of a clip,
            as AST does for AudioSet (Gong et al., Interspeech 2021,
            https://arxiv.org/abs/2104.01778).

    Example:
        probes: {tuned: {type: ablate.training.finetuning.FineTuning, steps: 500, rate: 1e-3}}
    """

    views: Views = field(default_factory=lambda: Views(poolings=("mean",)))
    augmentation: AbstractAugmentation | None = None
    steps: int = 500
    batch: int = 16
    rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    frozen: int = 0
    seeds: int = 1
    sampling: Literal["uniform", "balanced"] = field(
        default="uniform", metadata={AS_BEFORE: "uniform"}
    )

    version: ClassVar[int] = 2  # version 1: all runs shared head, order of clips and windows
    standardises: ClassVar[bool] = False
    needs_audio: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := [pooling for pooling in self.views.poolings if pooling not in POOLINGS]:
            raise ValueError(f"`views.poolings`: cannot fine-tune through {wrong}; use {POOLINGS}")
        if self.views.layers != ("last",):
            raise ValueError("`views.layers` must be [last]: fine-tuning trains the whole encoder")
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

    def predict(self, data: ProbeData) -> Scores:
        raw = data.raw
        assert raw is not None
        extractor = raw.extractor
        model = FineTuned(extractor.encoder, raw.view.pooling, extractor.grid, data.num_classes)
        seed = derive(raw.seed, "fine-tuning", data.seed)
        initialise(model.head, seed, "fine-tuning")
        model.to(extractor.device)
        self._train(model, data, raw, seed)
        return _predict(model, data, raw)

    def _train(self, model: "FineTuned", data: ProbeData, raw: RawClips, seed: int) -> None:
        groups = build_parameter_groups(model, self.layer_decay, self.frozen)
        adamw = torch.optim.AdamW(groups, lr=self.rate, weight_decay=self.weight_decay)
        draw = draw_balanced_clips if self.sampling == "balanced" else shuffle_clips
        order = draw(data, self.batch, seed)
        for step, items in zip(range(self.steps), order, strict=False):
            rng = StepRandom(seed, step)
            batch = _load_batch(items, data, raw, rng)
            if self.augmentation is not None:
                batch = self.augmentation(batch, rng)
            rate = warm_decay(self.rate, step, self.steps, self.warmup)
            for group in adamw.param_groups:
                group["lr"] = rate * group["share"]
            adamw.zero_grad()
            loss = compute_finetuning_loss(
                model, batch, raw.extractor, rng, multilabel=data.is_multilabel
            )
            loss.backward()  # type: ignore[no-untyped-call]
            adamw.step()


class FineTuned(nn.Module):
    """A copy of an encoder with a linear head: patches of windows to logits (windows, classes).

    Raises `ValueError` if summaries are to be pooled and the encoder has none.
    """

    def __init__(self, encoder: Encoder, pooling: Pooling, grid: Grid, classes: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=True)
        self._pooling = pooling
        self._grid = grid
        width = encoder.dim * (grid.freq if pooling == "concat_freq" else 1)
        # initial weights depend on these names
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(width), "tell": nn.Linear(width, classes)})

    def forward(self, patches: Tensor, packing: Packing, rng: StepRandom | None = None) -> Tensor:
        encoded = self.encoder(patches, packing, rng=rng)
        if self._pooling == "summary":
            if encoded.summary is None:
                raise ValueError("this encoder has no summary token; use another pooling")
            pooled = encoded.summary
        else:
            pooled = self._pool(encoded.tokens, packing)
        logits: Tensor = self.head["tell"](self.head["norm"](pooled))
        return logits

    def _pool(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Returns the mean over a window's tokens, or over each row of its grid, concatenated."""
        rows = self._grid.freq if self._pooling == "concat_freq" else 1
        windows = len(packing.segments.lengths)
        row = packing.owner * rows
        if rows > 1:
            row = row + packing.place // self._grid.time
        total = tokens.new_zeros(windows * rows, tokens.shape[1]).index_add(0, row, tokens)
        count = tokens.new_zeros(windows * rows).index_add(0, row, tokens.new_ones(len(row)))
        return (total / count.clamp(min=1).unsqueeze(1)).view(windows, -1)


def compute_finetuning_loss(
    model: FineTuned,
    batch: LabelledBatch,
    extractor: FeatureExtractor,
    rng: StepRandom,
    *,
    multilabel: bool = False,
) -> Tensor:
    """Computes the cross-entropy of a batch, per class if clips may have several labels."""
    with extractor.autocast():
        logits = model(*_pack(batch, extractor), rng)
    compute_loss = F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy
    return compute_loss(logits.float(), on_device(batch.labels, logits.device))


def build_parameter_groups(model: FineTuned, decay: float, frozen: int) -> list[dict[str, Any]]:
    """Groups the parameters by their share of the learning rate, and freezes the first layers.

    The head has share 1, and so has a transformer's final norm. Each layer has `decay` times the
    share of the layer above it, and the stem the smallest. Vectors (norms, biases) have no weight
    decay.

    Args:
        model: The model; its frozen parameters no longer require gradients.
        decay: Factor from layer to layer.
        frozen: Number of layers to freeze.

    Returns:
        Groups for a torch optimiser, with a `share` beside the `params` of each.
    """
    names = dict(model.named_parameters())
    layers = 1 + max((_get_layer(name) for name in names), default=-1)
    transformer = getattr(model.encoder, "transformer", None)
    norm_last = isinstance(transformer, Transformer) and not transformer.norm_first
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in names.items():
        depth = layers + 1 if name.startswith("head.") else _get_layer(name) + 1
        if norm_last and name.startswith("encoder.transformer.norm."):
            depth = layers + 1
        if frozen > 0 and depth <= min(frozen, layers):
            parameter.requires_grad = False
            continue
        key = (decay ** (layers + 1 - depth), parameter.dim() >= 2)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "share": share, **({} if decays else {"weight_decay": 0.0})}
        for (share, decays), parameters in groups.items()
    ]


def _get_layer(name: str) -> int:
    """Returns the layer of a parameter, counted from 0; -1 for the stem."""
    match = re.search(r"^encoder\.(?:transformer\.)?layers\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _load_batch(items: Indices, data: ProbeData, raw: RawClips, rng: StepRandom) -> LabelledBatch:
    """Loads one random window per clip, with the labels of the clips."""
    crop = raw.extractor.crop_frames
    shares = rng.uniform(len(items), "window").tolist()
    batches = []
    for item, share in zip(items, shares, strict=True):
        starts = range(0, int(raw.store.lengths[raw.clips[item]]), crop)
        chosen = int(share * len(starts))
        batches.append(_load_windows(raw, int(item), starts[chosen : chosen + 1]))
    batch = Batch.concatenate(batches)
    labels = torch.from_numpy(data.labels[items])
    if not data.is_multilabel:
        labels = F.one_hot(labels, data.num_classes)
    return LabelledBatch(batch.mels, labels.float(), _get_valid(batch, raw.extractor))


def _pack(batch: LabelledBatch, extractor: FeatureExtractor) -> tuple[Tensor, Packing]:
    """Cuts a batch into patches, and packs the visible ones."""
    packing = pack(batch.visible, extractor.device)
    if batch.exclude_self is not None:
        excluded = batch.exclude_self[batch.visible]
        packing = replace(packing, segments=replace(packing.segments, exclude_self=excluded))
    return extractor.patchifier.cut(on_device(batch.mels, extractor.device)), packing


@torch.no_grad()
def _predict(model: FineTuned, data: ProbeData, raw: RawClips) -> Scores:
    """Predicts the query items, one clip at a time."""
    rows = []
    for item in data.query:
        windows = _load_windows(raw, int(item), None)
        batch = LabelledBatch(windows.mels, torch.zeros(0), _get_valid(windows, raw.extractor))
        with raw.extractor.autocast():
            logits = model(*_pack(batch, raw.extractor)).float()
        shares = logits.sigmoid() if data.is_multilabel else logits.softmax(dim=1)
        rows.append(shares.mean(dim=0).cpu().numpy())
    scores: Scores = np.stack(rows)
    return scores


def _load_windows(raw: RawClips, item: int, starts: range | None) -> Batch:
    extractor, clip = raw.extractor, int(raw.clips[item])
    return cut_windows(raw.store, clip, extractor.crop_frames, extractor.normaliser, starts)


def _get_valid(batch: Batch, extractor: FeatureExtractor) -> Tensor:
    return extractor.patchifier.valid(batch.valid_frames, batch.bands)
