"""Whether trainings were sound and masks were what was meant, variant by variant."""

from collections.abc import Sequence
from typing import Any

from ablate.report.pages.table import (
    DASH,
    Column,
    Row,
    Show,
    Table,
    number_of,
    plain,
    share,
    share_of,
)
from ablate.report.pages.tables import factor_columns, mean, named
from ablate.report.results import Results, Trial

METRICS = ("loss", "position_loss", "effective_rank", "effective_rank_init", "feature_std")


def health(results: Results) -> Table:
    """Tabulates the loss and the features that runs recorded last: means over seeds.

    Without a row where no run has recorded a loss.
    """
    rows = []
    for levels, trials in results.variants().items():
        row: dict[str, Any] = {name: _recorded(trials, name) for name in METRICS}
        row["failed"] = sum(trial.failed for trial in trials)
        row["collapsed"] = sum(trial.collapsed for trial in trials)
        rows.append({**named(results, levels), **row})
    return Table(
        name="health",
        title="Health",
        caption="As last recorded, means over seeds. Share of position-only loss: at 100 % the "
        "predictor does no better than predicting each position's mean. Effective rank, and the "
        "share of its initial value: below 50 %, features may have collapsed. Losses do not rank "
        "variants.",
        columns=(
            *factor_columns(results),
            Column(head="loss", show=number_of("loss", 3)),
            Column(head="share of position-only loss", show=_ratio("loss", "position_loss")),
            Column(head="effective rank", show=number_of("effective_rank", 1)),
            Column(head="rank kept", show=_ratio("effective_rank", "effective_rank_init")),
            Column(head="feature deviation", show=number_of("feature_std", 2)),
            Column(head="collapsed", show=lambda row: str(row["collapsed"])),
            Column(head="failed", show=lambda row: str(row["failed"])),
        ),
        rows=tuple(rows) if any(row["loss"] is not None for row in rows) else (),
    )


def masks(results: Results) -> Table:
    """Tabulates what the masks of each variant amounted to, as planned and as trained.

    Context and targets are shares of the grid, tokens are counted per clip.
    """
    rows = []
    for levels, trials in results.variants().items():
        grids = {tuple(trial.plan["grid"]) for trial in trials if trial.plan.get("grid")}
        row: dict[str, Any] = {"grid": " or ".join(f"{freq} x {time}" for freq, time in grids)}
        for name, metric in {"context": "context_fraction", "targets": "target_fraction"}.items():
            row[f"{name}_planned"] = mean(trial.plan.get(name) for trial in trials)
            row[f"{name}_trained"] = _recorded(trials, metric)
        for name in ("context", "target"):
            row[f"{name}_tokens"] = mean(_per_clip(trial, name) for trial in trials)
        row["changed"] = _recorded(trials, "fallback_fraction")
        row["overlap"] = mean(trial.plan.get("overlap") for trial in trials)
        rows.append({**named(results, levels), **row})
    changed = any(row["changed"] is not None for row in rows)
    overlap = any(row["overlap"] for row in rows)
    return Table(
        name="masks",
        title="Masks",
        caption="Shares of the grid that are visible (context) and to be predicted (targets): as "
        "drawn before training, and as recorded at its end. Tokens: per clip, averaged over "
        "training."
        + (" Changed: masks that a guard had to change." if changed else "")
        + (" Both: the share of the context that is also a target." if overlap else ""),
        columns=(
            *factor_columns(results),
            Column(head="grid", show=plain("grid"), text=True),
            Column(head="context, planned", show=share_of("context_planned")),
            Column(head="trained", show=share_of("context_trained")),
            Column(head="context tokens", show=number_of("context_tokens", 1)),
            Column(head="targets, planned", show=share_of("targets_planned")),
            Column(head="trained", show=share_of("targets_trained")),
            Column(head="target tokens", show=number_of("target_tokens", 1)),
            *([Column(head="changed", show=share_of("changed"))] if changed else []),
            *([Column(head="both", show=share_of("overlap"))] if overlap else []),
        ),
        rows=tuple(rows),
    )


def _recorded(trials: Sequence[Trial], name: str) -> float | None:
    return mean(trial.metrics.get(name) for trial in trials)


def _per_clip(trial: Trial, name: str) -> float | None:
    clips, tokens = trial.cost.get("clips"), trial.cost.get(f"{name}_tokens")
    return tokens / clips if clips and tokens is not None else None


def _ratio(name: str, whole: str) -> Show:
    def show(row: Row) -> str:
        known = row[name] is not None and row[whole]
        return share(row[name] / row[whole]) if known else DASH

    return show
