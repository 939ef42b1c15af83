"""Builds the table of baselines without training: log-mel statistics and random init, by probe."""

from collections.abc import Sequence

from ablate.report.mean_scores import compute_untrained_scores
from ablate.report.pages.table import Column, Table, number_cell, text_cell
from ablate.report.pages.tables import compute_mean
from ablate.report.results import Results, TrialResult, format_variant


def build_baseline_table(results: Results) -> Table:
    """Builds the table of everything that needs no training, by every probe.

    One row per baseline and group of variants that share it, one column per probe: the mean over
    tasks and seeds in percent. Random init has the pooling of the study's score.
    """
    probes = list(results.plan.probes)
    groups = _group_by_baseline(results)
    rows = [
        {"baseline": name, "variants": variants, **scores}
        for variants, trials in groups.items()
        for name, scores in _summarise_baselines(results, trials, probes).items()
    ]
    several = [Column(head="variants", format=text_cell("variants"), text=True)]
    return Table(
        name="baselines",
        title="Baselines without training",
        caption="Means over tasks and seeds, in percent on test clips. Random init: pooled by "
        f"{results.plan.score.pooling}, as the trained encoder in the study's score. Log-mel: each "
        "frame is a token, pooled as named; `modulation`: the mean of each band and the magnitudes "
        "of its modulation in 16 frequency bands.",
        columns=(
            Column(head="baseline", format=text_cell("baseline"), text=True),
            *(several if len(groups) > 1 else []),
            *(Column(head=probe, format=number_cell(probe)) for probe in probes),
        ),
        rows=tuple(rows),
    )


def _group_by_baseline(results: Results) -> dict[str, list[TrialResult]]:
    """Groups the trials of variants that have the same random init and log-mels."""
    names: dict[frozenset[str], list[str]] = {}
    trials: dict[frozenset[str], list[TrialResult]] = {}
    for levels, of_variant in results.variants().items():
        key = frozenset(
            name for t in of_variant for name in (t.plan.random_init, t.plan.statistics)
        )
        names.setdefault(key, []).append(format_variant(levels))
        trials.setdefault(key, of_variant)
    return {"; ".join(names[key]): trials[key] for key in names}


def _summarise_baselines(
    results: Results, trials: Sequence[TrialResult], probes: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Computes the mean over seeds of every baseline by every probe."""
    by_probe = {
        probe: [
            compute_untrained_scores(
                results.plan, t.plan, t.random_inits, t.mel_statistics, (probe, t.probe_key[1])
            )
            for t in trials
        ]
        for probe in probes
    }
    names = [name for scores in by_probe.values() for each in scores for name in each]
    return {
        name: {
            probe: compute_mean(each.get(name) for each in scores)
            for probe, scores in by_probe.items()
        }
        for name in dict.fromkeys(names)
    }
