"""The tables of what was measured: variants, probes, cost, and what failed."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from ablate.report.pages.table import (
    PLUS_MINUS,
    Column,
    Row,
    Table,
    amount_of,
    interval_of,
    number,
    number_of,
    plain,
    share_of,
)
from ablate.report.results import Results, Trial, column_of, label_of
from ablate.report.run import Run
from ablate.report.stats.decision_rules import percent
from ablate.report.stats.statistics import t_interval
from ablate.runs.scores import STATISTICS_POOLING

PROBE_KEYS = ("probe", "pooling", "task")  # what a score is known by
COSTS = ("steps", "clips", "audio_hours", "context_tokens", "target_tokens", "flops", "seconds")


def variants(results: Results) -> Table:
    """Tabulates what each variant scored, and whether its runs were healthy.

    Scores are in percent, gains in points, context and targets shares of the grid; means over
    seeds. Failed and collapsed count trials.
    """
    alpha = results.plan["report"]["alpha"]
    interval = f"{percent(alpha)} interval"
    return Table(
        name="variants",
        title="Variants",
        caption=f"Score: mean test {score_name(results)} over tasks, in percent; mean over "
        f"pre-training seeds with its Student-t {interval}. Gain: score minus that of the same "
        "encoder at random init. Context and targets: realised shares of the grid.",
        columns=(
            *factor_columns(results),
            Column(head="seeds", show=lambda row: f"{row['n']} of {row['planned']}"),
            Column(head="score", show=number_of("score")),
            Column(head=interval, show=interval_of("score")),
            Column(head="gain", show=number_of("gain", signed=True)),
            Column(head="gain's interval", show=interval_of("gain"), brief=False),
            Column(head="random init", show=number_of("random_init")),
            Column(head="mel statistics", show=number_of("mel_statistics"), brief=False),
            Column(head="context", show=share_of("context")),
            Column(head="targets", show=share_of("targets")),
            Column(head="failed", show=lambda row: str(row["failed"])),
            Column(head="collapsed", show=lambda row: str(row["collapsed"])),
            Column(head="effective rank", show=number_of("effective_rank"), brief=False),
        ),
        rows=tuple(
            _scored(named(results, levels), trials, alpha)
            for levels, trials in results.variants().items()
        ),
    )


def _scored(name: Row, trials: Sequence[Trial], alpha: float) -> Row:
    """Returns the row of a variant: its scores over seeds, and how its trials fared."""
    score = t_interval(_known(trial.score for trial in trials), alpha=alpha)
    gain = t_interval(_known(trial.gain for trial in trials), alpha=alpha)
    mel_statistics = mean(trial.statistics_score for trial in trials)
    return {
        **name,
        "planned": len(trials),
        "n": score.n,
        "score": score.mean,
        "score_low": score.low,
        "score_high": score.high,
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "random_init": mean(trial.twin_score for trial in trials),
        "mel_statistics": mel_statistics,
        "over_mel_statistics": _less(score.mean, mel_statistics),
        "context": _realised(trials, "context"),
        "targets": _realised(trials, "targets"),
        "failed": sum(trial.failed for trial in trials),
        "collapsed": sum(trial.collapsed for trial in trials),
        "effective_rank": mean(trial.metrics.get("effective_rank") for trial in trials),
    }


def probes(results: Results) -> Table:
    """Tabulates every probe, pooling and task of each variant beside its two references.

    In percent, gains in points; the probe that the study's score is of comes first.
    """
    asked = {trial.asked for trial in results.trials}
    rows = [
        _examined(named(results, levels), trials, key)
        for levels, trials in results.variants().items()
        for key in _keys(trials)
    ]
    rows.sort(  # what the study asks first; variants stay in the plan's order
        key=lambda row: (
            (row["probe"], row["pooling"]) not in asked,
            *(row[key] for key in PROBE_KEYS),
        )
    )
    return Table(
        name="probes",
        title="Probes",
        caption=f"Every probe on the frozen features, in percent: mean {PLUS_MINUS} standard "
        "deviation over pre-training seeds. Log-mel statistics have one pooling, shown beside all. "
        "Gain: trained minus random init.",
        columns=(
            *(Column(head=key, show=plain(key), text=True) for key in PROBE_KEYS),
            *factor_columns(results),
            Column(head="trained", show=lambda row: _spread(row, "trained_test")),
            Column(head="random init", show=lambda row: _spread(row, "random_init_test")),
            Column(head="mel statistics", show=lambda row: _spread(row, "mel_statistics_test")),
            Column(head="gain", show=number_of("gain", signed=True)),
            Column(
                head="over mel statistics",
                show=number_of("over_mel_statistics", signed=True),
            ),
            Column(head="trained, validation", show=lambda row: _spread(row, "trained_valid")),
        ),
        rows=tuple(rows),
    )


def _keys(trials: Sequence[Trial]) -> Iterable[tuple[str, str, str]]:
    """Lists the probes, poolings and tasks that a variant was scored by."""
    runs = (run for trial in trials for run in (trial.run, trial.twin))
    scores = (score for run in runs for score in run.scores)
    return dict.fromkeys((score.probe, score.pooling, score.task) for score in scores)


def _examined(name: Row, trials: Sequence[Trial], key: tuple[str, str, str]) -> Row:
    """Returns the row of a variant by one probe, pooling and task."""
    probe, _, task = key
    row = {
        **dict(zip(PROBE_KEYS, key, strict=True)),
        **name,
        **_told("trained", [trial.run for trial in trials], key),
        **_told("random_init", [trial.twin for trial in trials], key),
        **_told(
            "mel_statistics",
            [trial.statistics for trial in trials],
            (probe, STATISTICS_POOLING, task),
        ),
    }
    gain = _less(row["trained_test"], row["random_init_test"])
    over_mel = _less(row["trained_test"], row["mel_statistics_test"])
    return {**row, "gain": gain, "over_mel_statistics": over_mel}


def cost(results: Results) -> Table:
    """Tabulates what a run of each variant took, from steps to seconds and MB: see `COSTS`."""
    rows = []
    for levels, trials in results.variants().items():
        sizes = [trial.plan.get("parameters") or {} for trial in trials]
        rows.append(
            {
                **named(results, levels),
                **{name: mean(t.cost.get(name) for t in trials) for name in COSTS},
                "tokens_per_second": mean(t.metrics.get("tokens_per_second") for t in trials),
                "peak_memory_mb": mean(t.cost.get("peak_memory_mb") for t in trials),
                "encoder_parameters": mean(size.get("encoder") for size in sizes),
                "predictor_parameters": mean(size.get("predictor") for size in sizes),
            }
        )
    heads = {name: name.replace("_", " ") for name in COSTS} | {"flops": "FLOPs"}
    heads |= {"tokens_per_second": "tokens/s", "peak_memory_mb": "peak MB"}
    heads |= {"encoder_parameters": "encoder", "predictor_parameters": "predictor"}
    return Table(
        name="cost",
        title="Cost of a run",
        caption="Means over the runs of a variant. Encoder and predictor: numbers of parameters. "
        "k, M, G, T: thousands, millions, billions, trillions.",
        columns=(
            *factor_columns(results),
            *(Column(head=head, show=amount_of(name)) for name, head in heads.items()),
        ),
        rows=tuple(rows),
    )


def failures(results: Results) -> Table:
    """Lists the trials without a score and the collapsed ones, with the reason of each."""
    rows = [
        {
            **named(results, levels),
            "seed": trial.seed,
            "run": trial.fingerprint,
            "state": "collapsed" if trial.collapsed and trial.state == "done" else trial.state,
            "reason": trial.reason,
            "score": trial.score,
        }
        for levels, trials in results.variants().items()
        for trial in trials
        if trial.state != "done" or trial.collapsed
    ]
    return Table(
        name="failures",
        title="Failed, missing and collapsed trials",
        caption="A trial without a score enters no mean. A collapsed trial that "
        "could be probed keeps its score.",
        columns=(
            *factor_columns(results),
            Column(head="seed", show=plain("seed")),
            Column(head="run", show=plain("run"), text=True),
            Column(head="state", show=plain("state"), text=True),
            Column(head="reason", show=plain("reason"), text=True),
            Column(head="score", show=number_of("score")),
        ),
        rows=tuple(rows),
    )


def score_name(results: Results) -> str:
    """Names the study's score as its text does: `knn.concat_freq`."""
    probes = dict.fromkeys(trial.asked[0] for trial in results.trials)
    return f"{' or '.join(probes)}.{results.plan['score']['pooling']}"


def factor_columns(results: Results) -> list[Column]:
    """Returns a column for each factor, or for the one variant where there is none."""
    names = [column_of(factor) for factor in results.factors] or ["variant"]
    return [Column(head=name, show=plain(name), text=True) for name in names]


def named(results: Results, levels: tuple[str, ...]) -> dict[str, Any]:
    """Returns the cells that name a variant: its label, and its level of each factor."""
    named = zip(map(column_of, results.factors), levels, strict=True)
    return {"variant": label_of(levels), **dict(named)}


def _told(name: str, runs: Sequence[Run], key: tuple[str, str, str]) -> dict[str, Any]:
    """Returns the mean and deviation over seeds of one probe, by split."""
    told: dict[str, Any] = {}
    for split in ("test", "valid"):
        values = _known(
            getattr(score, split)
            for run in {id(run): run for run in runs}.values()  # seeds may share one
            for score in run.scores
            if (score.probe, score.pooling, score.task) == key
        )
        told[f"{name}_{split}"] = fmean(values) if values else None
        told[f"{name}_{split}_sd"] = stdev(values) if len(values) > 1 else None
    return told


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _realised(trials: Sequence[Trial], name: str) -> float | None:
    """Returns the share of the grid that runs recorded, or the plan's where none has run."""
    metric = {"context": "context_fraction", "targets": "target_fraction"}[name]
    recorded = mean(trial.metrics.get(metric) for trial in trials)
    return mean(trial.plan.get(name) for trial in trials) if recorded is None else recorded


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the values that are known; None where none is."""
    known = _known(values)
    return fmean(known) if known else None


def _spread(row: Row, name: str) -> str:
    sd = row[f"{name}_sd"]
    return number(row[name]) + (f" {PLUS_MINUS} {number(sd)}" if sd is not None else "")
