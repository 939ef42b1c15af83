"""Checks the settings of a trial: draws masks, matches shares and counts weights."""

from ablate.core.records.plan import Settings
from ablate.core.records.run import ParameterCounts
from ablate.mask_analysis.matching import Match, has_match, remove_match, resolve_matches
from ablate.mask_analysis.realised_shares import RealisedShares, compute_realised_shares
from ablate.model.masking import Grid, UnsupportedGridError
from ablate.parts import PartError, Problem, build
from ablate.worker.meta_model import count_trial_parameters
from ablate.worker.trial import Trial


def fill_in_matches(
    settings: Settings, columns: tuple[int, ...] = ()
) -> tuple[Settings, list[Match]]:
    """Replaces each `match` of a masker by the value that reaches the wanted share.

    `columns` are those of clips with padding, as for `compute_realised_shares`.

    A match needs the grid. If the patchifier does not fit, the settings come back without the
    match, and `try_masks` reports the problem.
    """
    masker = settings.get("masker")
    if not has_match(masker):
        return settings, []
    plain = {**settings, "masker": remove_match(masker)}
    trial = build(plain, expect=Trial)
    try:
        grid = trial.grid
    except ValueError:
        return plain, []
    if grid.size < 2:
        return plain, []
    filled, matches = resolve_matches(masker, grid, trial.batching, trial.budget.batch, columns)
    return {**settings, "masker": filled}, matches


def fit_to_lengths(
    settings: Settings, trial: Trial, columns: tuple[int, ...]
) -> tuple[Trial, list[Match], RealisedShares]:
    """Computes matches and shares for clips of the given lengths, some of which are padded.

    Args:
        settings: settings of the trial, with every `match`.
        trial: the trial, with values matched on full-length clips.
        columns: columns of the grid that are not padding, as for `compute_realised_shares`.

    Raises:
        PartError: a wanted share cannot be reached, or the masker refuses such clips.
    """
    matched, matches = fill_in_matches(settings, columns)
    trial = build(matched, expect=Trial) if matches else trial
    problems, _, shares = try_masks(trial, columns)
    if shares is None:
        raise PartError(problems)
    return trial, matches, shares


def try_masks(
    trial: Trial, columns: tuple[int, ...] = ()
) -> tuple[list[Problem], Grid | None, RealisedShares | None]:
    """Draws masks; returns the problems, or the grid and the shares of context and targets."""
    try:
        grid = trial.grid
    except ValueError as error:
        return [Problem(("patchifier",), str(error))], None, None
    if grid.size < 2:
        message = f"one patch covers all {trial.crop_frames} frames; nothing is left to predict"
        return [Problem(("patchifier",), message)], None, None
    try:
        shares = compute_realised_shares(
            trial.masker, grid, trial.batching, trial.budget.batch, columns
        )
        return [], grid, shares
    except (UnsupportedGridError, AssertionError, ValueError) as error:
        reason = str(error)
    except Exception as error:  # a user's masker may raise anything
        reason = f"{type(error).__name__}: {error}"
    return [Problem(("masker",), f"on a grid of {grid} patches: {reason}")], None, None


def count_parameters(trial: Trial, problems: list[Problem]) -> ParameterCounts | None:
    """Counts the weights on the meta device; a part that cannot be built adds its problems."""
    try:
        return ParameterCounts(**count_trial_parameters(trial))
    except PartError as error:
        problems += error.problems
        return None
