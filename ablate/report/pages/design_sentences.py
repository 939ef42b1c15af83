"""Describes what a study trained and by what it is judged: factors, seeds, the probe."""

from collections.abc import Mapping
from typing import Any

from ablate.core.seeds import DESCRIPTIONS
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results

# what no user wrote: paths of classes, digests of clips, versions of code
UNSHOWN_SETTINGS = ("type", "content", "label_procedure", "version")
SHARED = {
    "order": "the data order",
    "init": "every initial weight whose name and shape agree",
}


def write_design(results: Results) -> str:
    """Writes the factors, the seeds and the score of a study."""
    factors = results.plan.factors
    levels = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in factors.items())
    seeds = sorted({trial.seed for trial in results.trials})
    design = f"Factors are {levels}." if levels else "There is one variant and no factor."
    names = dict.fromkeys(trial.probe_key[0] for trial in results.trials)
    probes = "; or ".join(_format_probe(results.plan.probes[name]) for name in names)
    return (
        f"{design} Every variant was pre-trained with the same {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}); {_write_shared_draws(results)}. "
        f"{_write_seed_purposes(results)}"
        f"The score is {format_score_name(results)}: the probe {probes}, in percent on the test "
        "split, averaged over tasks."
    )


def _write_shared_draws(results: Results) -> str:
    """Writes what all trials draw alike, and what only variants of the same seed do."""
    separate = results.plan.separate_seeds
    held = {*separate.held} if separate else set()
    return "; ".join(
        f"{who} share {' and '.join(SHARED[purpose] for purpose in purposes)}"
        for who, purposes in (
            ("all trials", [purpose for purpose in SHARED if purpose in held]),
            ("variants of the same seed", [purpose for purpose in SHARED if purpose not in held]),
        )
        if purposes
    )


def _write_seed_purposes(results: Results) -> str:
    """Writes which purposes have seeds of their own, and what that means for the verdicts."""
    separate = results.plan.separate_seeds
    if separate is None:
        return ""
    varied, held = (
        ", ".join(DESCRIPTIONS[purpose] for purpose in purposes) or "nothing"
        for purposes in (separate.varied, separate.held)
    )
    text = f"Seeds are separate; varied: {varied}; held at one seed in every trial: {held}. "
    if separate.scope:
        text += f"Every verdict and interval is {separate.scope}. "
    if separate.crossed:
        text += (
            f"Every combination of the seeds that vary was trained: {len(results.crossing_trials)} "
            "further trials, which share seeds with others and so enter no verdict or interval, "
            "only the table of where the spread over seeds comes from. "
        )
    return text


def _format_probe(probe: Mapping[str, Any]) -> str:
    """Formats a probe, or a part in it, as `KNN (k 10, temperature 0.07)`."""
    settings = [
        f"{key} {_format_setting(value)}"
        for key, value in probe.items()
        if key not in UNSHOWN_SETTINGS and value is not None
    ]
    if probe.get("label_procedure"):
        settings.append("labelled clips drawn from those that it is fitted on")
    name = str(probe["type"]).rpartition(".")[2]
    return f"{name} ({', '.join(settings)})" if settings else name


def _format_setting(value: object) -> str:
    if isinstance(value, Mapping) and "type" in value:
        return _format_probe(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format_setting, value))}]"
    return str(value)
