"""Checks that the parts of a trial, each valid by itself, can work together."""

from collections.abc import Callable, Iterator

from ablate.mask_analysis.realised_shares import compute_realised_shares
from ablate.model.pretrained import FrozenEncoders, Pretrained
from ablate.model.saved_encoder import SavedEncoder
from ablate.model.stems import AbstractStem, Convolutional2D, Speech1D, WaveformStem
from ablate.model.targets import Teacher
from ablate.parts import Problem, build, get_identity
from ablate.training.input_views import AbstractView
from ablate.worker.method_conflicts import METHOD_CHECKS
from ablate.worker.trial import Trial

Check = Callable[[Trial], Problem | None]


def find_conflicts(trial: Trial) -> list[Problem]:
    """Returns the conflicts between parts of a trial, each at the setting to change."""
    return [problem for check in CHECKS if (problem := check(trial)) is not None]


def _check_patches_of_waveform(trial: Trial) -> Problem | None:
    bands = trial.patchifier.size[0]
    if trial.mel.bands > 1 or bands == 1:
        return None
    message = (
        f"patches are {bands} bands high, but `mel` gives a waveform, which has one; cut it "
        "with `type: ablate.model.patchify.Windows`, or use `ablate.audio.mel.LogMel` as `mel`"
    )
    return Problem(("patchifier",), message)


def _check_stem_reads_waveform(trial: Trial) -> Problem | None:
    stem = _get_stem(trial)
    if not isinstance(stem, WaveformStem):
        return None
    if trial.mel.bands > 1:
        message = (
            f"the stem reads a waveform, but `mel` gives {trial.mel.bands} mel bands; use "
            "`ablate.audio.waveform.Waveform` as `mel`, or remove the stem"
        )
        return Problem(("encoder", "stem"), message)
    if trial.patchifier.stride[1] == stem.hop and trial.patchifier.size[1] == stem.window:
        return None
    window, step = trial.patchifier.size[1], trial.patchifier.stride[1]
    message = (
        f"the stem makes a token of {stem.window} samples every {stem.hop}, but the patchifier "
        f"cuts {window} every {step}; set its `time: {stem.window}, time_stride: {stem.hop}`"
    )
    return Problem(("patchifier",), message)


def _check_stem_shape(trial: Trial) -> Problem | None:
    """Compares shapes; the stem only compares sizes, so 4 x 64 would pass for 64 x 4."""
    stem, size = _get_stem(trial), trial.patchifier.size
    if not isinstance(stem, Convolutional2D | Speech1D) or (stem.freq, stem.time) == size:
        return None
    message = (
        f"the stem is for patches of `freq` {stem.freq} and `time` {stem.time}, but the "
        f"patchifier cuts {size[0]} bands by {size[1]} frames; set the stem to the same"
    )
    return Problem(("encoder", "stem"), message)


def _get_stem(trial: Trial) -> AbstractStem | None:
    return getattr(trial.encoder, "stem", None)


def _check_hidden_features(trial: Trial) -> Problem | None:
    if trial.predictor.reads == "context" or _get_hidden(trial) == "replace":
        return None
    message = (
        f"{_name(trial.predictor)} reads the features of hidden patches, but the encoder drops "
        "them; set `hidden: replace` on the encoder, or use another predictor"
    )
    return Problem(("predictor",), message)


def _check_padding(trial: Trial) -> Problem | None:
    if trial.batching != "pad" or _get_hidden(trial) == "drop":
        return None
    message = (
        "`pad` needs an encoder that drops patches, but this one keeps every patch; use `pack`, or "
        "set `hidden: drop` on the encoder"
    )
    return Problem(("batching",), message)


def _check_contrast_between_blocks(trial: Trial) -> Problem | None:
    if not (trial.predictor.by_block and trial.objective.contrastive):
        return None
    message = (
        f"{_name(trial.objective)} compares all targets of a sample, but "
        f"{_name(trial.predictor)} predicts each block by itself; use a predictor that predicts "
        "all at once, such as `ablate.model.predictor.Joint`"
    )
    return Problem(("objective",), message)


def _check_clusters(trial: Trial) -> Problem | None:
    if trial.target.discrete == trial.objective.discrete:
        return _check_codebooks(trial) if trial.target.discrete else None
    if trial.target.discrete:
        message = (
            f"{_name(trial.target)} makes clusters, but {_name(trial.objective)} measures "
            "distances; use `ablate.model.objectives.CrossEntropy`"
        )
    else:
        message = (
            f"{_name(trial.objective)} needs clusters, but {_name(trial.target)} makes none; use "
            "`ablate.model.codebook.Codebook`"
        )
    return Problem(("objective",), message)


def _check_codebooks(trial: Trial) -> Problem | None:
    made = getattr(trial.target, "codebooks", 1)
    compared = getattr(trial.objective, "codebooks", made)
    if made == compared:
        return None
    message = (
        f"{_name(trial.target)} has {made} codebooks, but {_name(trial.objective)} compares "
        f"{compared}; set `codebooks: {made}`"
    )
    return Problem(("objective", "codebooks"), message)


def _check_summary(trial: Trial) -> Problem | None:
    """Checks that the utterance loss has a summary, targets of the whole clip, and a distance."""
    objective, target = trial.objective, trial.target
    if objective.utterance == 0:
        return None
    if not getattr(trial.encoder, "summary", False):
        missing = f"{_name(trial.encoder)} has no summary; set `summary: true` if it can have one"
    elif not isinstance(target, Teacher) or target.input != "full":
        missing = "no target encoder sees the whole clip; use a Teacher with `input: full`"
    elif target.num_parts > 1:
        missing = "a summary has the width of one layer; use a Teacher with `combine: average`"
    elif objective.discrete or objective.contrastive:
        missing = f"{_name(objective)} cannot compare summaries; use a distance such as L2"
    elif objective.reduction != "sample":
        missing = "it is a mean over samples, so the loss must be one too; use `reduction: sample`"
    else:
        return None
    return Problem(("objective", "utterance"), f"{objective.utterance} cannot be used: {missing}")


def _check_num_targets(trial: Trial) -> Problem | None:
    if not trial.objective.contrastive:
        return None
    try:
        grid = trial.grid
        shares = compute_realised_shares(trial.masker, grid, trial.batching, trial.budget.batch)
    except Exception:  # a user's masker may raise anything; the validation of masks reports it
        return None
    targets = shares.targets * grid.size
    if targets >= 2:
        return None
    message = (
        f"{_name(trial.objective)} contrasts a sample's targets with each other, but the masker "
        f"gives {targets:.1f} targets per sample on a grid of {grid}; use at least two"
    )
    return Problem(("objective",), message)


def _check_num_layers(trial: Trial) -> Problem | None:
    depth = getattr(trial.encoder, "layers", None)
    if not isinstance(trial.target, Teacher) or depth is None or trial.target.layers == "all":
        return None
    layers = trial.target.layers
    if isinstance(layers, tuple):
        if max(layers) <= depth:
            return None
        message = f"it reads layer {max(layers)}, but the encoder has {depth}; use at most {depth}"
        return Problem(("target", "layers"), message)
    if layers <= depth:
        return None
    message = f"it averages {layers} layers, but the encoder has {depth}; use {depth} or `all`"
    return Problem(("target", "layers"), message)


def _check_saved_encoders(trial: Trial) -> Problem | None:
    """Checks that encoders of finished runs read the same patches as the trial."""
    where = ("encoder", "folder")
    encoders: list[SavedEncoder] = []
    try:
        if isinstance(trial.encoder, Pretrained):
            encoders = [trial.encoder.saved]
        if isinstance(trial.target, FrozenEncoders):
            where = ("target", "folders")
            encoders += trial.target.saved
    except ValueError as error:
        return Problem(where, str(error))
    for saved in encoders:
        for name in ("mel", "patchifier", "crop_frames"):
            ours, theirs = getattr(trial, name), saved.settings[name]
            if name != "crop_frames":
                ours, theirs = get_identity(ours), get_identity(build(theirs, expect=object))
            if ours != theirs:
                message = f"the encoder in `{saved.folder}` was trained with another `{name}`"
                return Problem(where, f"{message}: {theirs}; use that, or another encoder")
    return None


def _check_views(trial: Trial) -> Problem | None:
    if trial.symmetric and trial.view is None and trial.target_view is None:
        message = "both roles would see the same clip; set `view` or `target_view`"
        return Problem(("symmetric",), message)
    for name in ("view", "target_view"):
        for view in _list_views(getattr(trial, name)):
            if view.needs_log_mel and trial.mel.bands == 1:
                message = "works on log-mels, but `mel` gives a waveform; remove it"
                return Problem((name,), f"`{_name(view)}` {message}")
            if view.mixes_clips and trial.budget.batch == 1:
                message = "mixes the clips of a batch, which holds one; use at least two"
                return Problem(("budget", "batch"), f"`{_name(view)}` {message}")
    return None


def _list_views(view: AbstractView | None) -> Iterator[AbstractView]:
    """Lists a view and those that it applies."""
    if view is not None:
        yield view
        for inner in getattr(view, "views", ()):
            yield from _list_views(inner)


def _check_num_clips(trial: Trial) -> Problem | None:
    if not trial.coupling or trial.budget.batch > 1:
        return None
    message = f"{trial.coupling} compares clips, and a batch holds one; use at least two"
    return Problem(("budget", "batch"), message)


def _get_hidden(trial: Trial) -> str:
    """Returns how an encoder treats hidden patches: `drop` or `replace`."""
    return getattr(trial.encoder, "hidden", "drop")


def _name(part: object) -> str:
    return type(part).__name__


CHECKS: tuple[Check, ...] = (
    _check_patches_of_waveform,
    _check_stem_reads_waveform,
    _check_stem_shape,
    _check_hidden_features,
    _check_padding,
    _check_contrast_between_blocks,
    _check_clusters,
    _check_summary,
    _check_num_targets,
    _check_num_layers,
    _check_saved_encoders,
    _check_views,
    _check_num_clips,
    *METHOD_CHECKS,
)
