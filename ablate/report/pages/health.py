"""Builds the tables of training health and of realised masks by variant."""

from collections.abc import Sequence
from typing import Any

from ablate.report.pages.table import (
    DASH,
    CellFormatter,
    Column,
    Row,
    Table,
    format_share,
    number_cell,
    share_cell,
    text_cell,
)
from ablate.report.pages.tables import build_factor_columns, build_variant_cells, compute_mean
from ablate.report.results import Results, TrialResult

METRICS = (
    *("loss", "position_loss", "effective_rank", "effective_rank_init", "feature_std"),
    *("lidar", "ema_gap"),
)


def build_health_table(results: Results) -> Table:
    """Builds the table of the last recorded loss and feature statistics, means over seeds.

    It is empty if no run recorded a loss.
    """
    rows = []
    for levels, trials in results.variants().items():
        row: dict[str, Any] = {name: _mean_metric(trials, name) for name in METRICS}
        row["failed"] = sum(trial.failed for trial in trials)
        row["collapsed"] = sum(trial.collapsed for trial in trials)
        rows.append({**build_variant_cells(results, levels), **row})
    return Table(
        name="health",
        title="Health",
        caption="Last recorded values, means over seeds. Share of position-only loss: at 100 % the "
        "predictor is no better than predicting the mean of each position. Effective rank, and "
        "its share of the initial value: below 50 %, features may have collapsed. LiDAR: the "
        "directions that tell clips apart, beside the variation within a clip (Thilak et al., "
        "2024; here with the patches of a clip as its views). EMA gap: the mean distance of the "
        "context encoder's features from those of its moving average, as a share of their length. "
        "Losses do not rank variants.",
        columns=(
            *build_factor_columns(results),
            Column(head="loss", format=number_cell("loss", 3)),
            Column(head="share of position-only loss", format=_ratio_cell("loss", "position_loss")),
            Column(head="effective rank", format=number_cell("effective_rank", 1)),
            Column(head="rank kept", format=_ratio_cell("effective_rank", "effective_rank_init")),
            Column(head="feature deviation", format=number_cell("feature_std", 2)),
            Column(head="LiDAR", format=number_cell("lidar", 1)),
            Column(head="EMA gap", format=share_cell("ema_gap")),
            Column(head="collapsed", format=lambda row: str(row["collapsed"])),
            Column(head="failed", format=lambda row: str(row["failed"])),
        ),
        rows=tuple(rows) if any(row["loss"] is not None for row in rows) else (),
    )


def build_mask_table(results: Results) -> Table:
    """Builds the table of planned and realised masks of each variant.

    Context and targets are shares of the grid; tokens are counted per clip.
    """
    rows = []
    for levels, trials in results.variants().items():
        grids = {trial.plan.facts.grid for trial in trials}
        row: dict[str, Any] = {"grid": " or ".join(f"{freq} x {time}" for freq, time in grids)}
        for name, metric in {"context": "context_fraction", "targets": "target_fraction"}.items():
            row[f"{name}_planned"] = compute_mean(
                getattr(trial.plan.facts, name) for trial in trials
            )
            row[f"{name}_trained"] = _mean_metric(trials, metric)
        for name in ("context", "target"):
            row[f"{name}_tokens"] = compute_mean(
                _get_tokens_per_clip(trial, name) for trial in trials
            )
        row["changed"] = _mean_metric(trials, "fallback_fraction")
        row["overlap"] = compute_mean(trial.plan.facts.overlap for trial in trials)
        rows.append({**build_variant_cells(results, levels), **row})
    changed = any(row["changed"] is not None for row in rows)
    overlap = any(row["overlap"] for row in rows)
    return Table(
        name="masks",
        title="Masks",
        caption="Shares of the grid that are visible (context) and predicted (targets): as sampled "
        "before training, and as recorded at its end. Tokens: per clip, averaged over training."
        + (
            " Fallback: masks for which the masker could not satisfy its settings."
            if changed
            else ""
        )
        + (" Overlap: the share of the context that is also a target." if overlap else ""),
        columns=(
            *build_factor_columns(results),
            Column(head="grid", format=text_cell("grid"), text=True),
            Column(head="context, planned", format=share_cell("context_planned")),
            Column(head="trained", format=share_cell("context_trained")),
            Column(head="context tokens", format=number_cell("context_tokens", 1)),
            Column(head="targets, planned", format=share_cell("targets_planned")),
            Column(head="trained", format=share_cell("targets_trained")),
            Column(head="target tokens", format=number_cell("target_tokens", 1)),
            *([Column(head="fallback", format=share_cell("changed"))] if changed else []),
            *([Column(head="overlap", format=share_cell("overlap"))] if overlap else []),
        ),
        rows=tuple(rows),
    )


def _mean_metric(trials: Sequence[TrialResult], name: str) -> float | None:
    return compute_mean(trial.metrics.get(name) for trial in trials)


def _get_tokens_per_clip(trial: TrialResult, name: str) -> float | None:
    clips, tokens = trial.cost.get("clips"), trial.cost.get(f"{name}_tokens")
    return tokens / clips if clips and tokens is not None else None


def _ratio_cell(name: str, reference: str) -> CellFormatter:
    def format_cell(row: Row) -> str:
        is_defined = row[name] is not None and row[reference]
        return format_share(row[name] / row[reference]) if is_defined else DASH

    return format_cell
