"""How the numbers were made, in words for a paper."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from statistics import fmean
from typing import Any

from ablate.core.records.plan import DataSummary, TaskSummary
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results
from ablate.report.stats.decision_rules import format_coverage, read_decision_rules
from ablate.report.stats.verdicts import FAMILIES

FILES_PREFIX = "Files next to this page:"  # how the paragraph on its files begins


def write_protocol(results: Results) -> list[str]:
    """Writes the protocol, a paragraph an entry."""
    return [
        _write_design(results),
        _write_statistics(results),
        *_write_budget(results),
        *_write_tokens(results),
        _write_data(results),
        _write_machines(results),
        _write_files(),
    ]


def _write_design(results: Results) -> str:
    factors = results.plan.factors
    levels = "; ".join(f"{name}: {', '.join(of)}" for name, of in factors.items())
    seeds = sorted({trial.seed for trial in results.trials})
    named = f"Factors are {levels}." if levels else "There is one variant and no factor."
    asked = dict.fromkeys(trial.probe_key[0] for trial in results.trials)
    probes = "; or ".join(_format_probe(results.plan.probes[name]) for name in asked)
    return (
        f"{named} Every variant was pre-trained with the same {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}); variants of the same seed share the data order and "
        "every initial weight whose name and shape agree. The score is "
        f"{format_score_name(results)}: the probe {probes}, in percent on the test split, "
        "averaged over tasks."
    )


def _format_probe(probe: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in probe.items() if key != "type")
    return f"{str(probe['type']).rpartition('.')[2]}{f' ({settings})' if settings else ''}"


def _write_budget(results: Results) -> list[str]:
    by = results.plan.match_budget
    if by is None:
        return []
    told = {"flops": "FLOPs (counted in advance, over sampled masks on whole clips)"}.get(by, by)
    return [f"Every variant was trained for as many {told} as the baseline."]


def _write_statistics(results: Results) -> str:
    decided = read_decision_rules(results.plan)
    families = [
        of for name, of in FAMILIES.items() if name != "confirmation" or results.confirmation_trials
    ]
    return (
        "The unit of replication is the pre-training seed: intervals and verdicts are about new "
        "seeds on these clips. They do not cover that the corpus and its test clips are one draw "
        "of many. Each level is contrasted with the baseline level of its factor within every "
        "combination of the other factors, paired by seed. The pooled estimate is a Student-t "
        "over seed means: for each seed that has every combination, the mean of its differences "
        "(degrees of freedom: seeds - 1). Whether the difference depends on the combination is "
        "tested within seeds, by a paired t-test between every two combinations; where it does, "
        "there is no pooled verdict. Factors that change the random-init encoder are compared by "
        "the gain over it. Intervals of differences are Student-t, "
        f"{format_coverage(decided.look_alpha)}, uncorrected. P-values are Holm-corrected within "
        f"each of {len(families)} families: {', '.join(families)}; one within a combination is at "
        "least twice the smaller of the p-values of its pooled contrast and its interaction. So "
        "where all variants are equal, a pooled better or worse is false in at most "
        f"{100 * decided.alpha:.4g} % of such studies, and pooled ones and those within a "
        f"combination together in at most {150 * decided.alpha:.4g} %; claims of an interaction, "
        f"and of learning, each add at most {100 * decided.alpha:.4g} %. Two levels are called "
        "equivalent when two one-sided tests, Holm-corrected likewise, place the difference "
        f"within {decided.margin:g} points. {_write_looks(results)}With the further seeds named "
        "for an undecided contrast, four studies in five would settle it, as a difference or as "
        "equivalence, if the observed difference and spread are the true ones, at the family's "
        "strictest level. Failed and pruned trials enter no mean; failed ones rule out the "
        "verdict better where failure rates differ. Collapsed trials that could be probed keep "
        f"their score.{_write_confirmation(results)}"
    )


def _write_confirmation(results: Results) -> str:
    if not results.confirmation_trials:
        return ""
    seeds = ", ".join(map(str, sorted({trial.seed for trial in results.confirmation_trials})))
    return (
        " The variants that led by validation scores, and the baseline, were trained again with "
        f"fresh seeds ({seeds}); only these enter the confirmation, and it enters no other mean. "
        f"Its intervals are {format_coverage(read_decision_rules(results.plan).alpha)}, as it is "
        "looked at once."
    )


def _write_looks(results: Results) -> str:
    taken = read_decision_rules(results.plan).looks
    if taken is None:
        return ""
    at = ", ".join(map(str, taken.seed_counts))
    return (
        f"Of up to {taken.max_seeds} declared seeds the verdicts were looked at with {at}. Each "
        "look spends the share of the error rate that its new seeds are of the declared ones, in "
        "its p-values and its intervals; what a look decided stands, with that look's p. "
    )


def _write_tokens(results: Results) -> Iterator[str]:
    """Says what a token is in time, and what neighbours share, for each way to cut the sound."""
    of: dict[str, list[str]] = {}  # words -> the levels that they hold for
    for trial in results.plan.trials:
        words = "; ".join(trial.facts.tokens.messages if trial.facts.tokens else ())
        cut = [
            label
            for factor, label in trial.levels.items()
            if factor.split(".")[0] in ("patchifier", "mel", "crop_frames", "crop_seconds")
        ]
        labels = of.setdefault(words, [])
        if ", ".join(cut) not in labels:
            labels.append(", ".join(cut))
    told = [
        f"{' and '.join(labels)}: {words}" if any(labels) else words
        for words, labels in of.items()
        if words
    ]
    if told:
        yield f"Tokens: {'. '.join(told)}."


def _write_data(results: Results) -> str:
    told = []
    for data in results.plan.data:
        tasks = "; ".join(f"{name} ({_format_counts(task)})" for name, task in data.tasks.items())
        told.append(
            f"{data.clips} clips{_format_pretraining_clips(data)} (digest {data.digest}, "
            f"{len(data.skipped)} skipped); tasks: {tasks}"
        )
    return "Data: " + ". ".join(told) + "."


def _format_pretraining_clips(data: DataSummary) -> str:
    count = data.pretraining_clips
    return f", {count} of them for pre-training" if count else ", for probing only"


def _format_counts(task: TaskSummary) -> str:
    counts = {"train": task.train, "valid": task.valid, "test": task.test, "folds": task.folds}
    return ", ".join(
        [f"{task.classes} classes", *(f"{count} {name}" for name, count in counts.items() if count)]
    )


def _write_machines(results: Results) -> str:
    runs = [trial.run for trial in results.trials if trial.run.exists]
    versions = sorted(get_versions(results).items())
    written = ", ".join(f"{name} {' / '.join(sorted(of))}" for name, of in versions)
    codes = sorted({(run.record.code and run.record.code.commit) or "unknown" for run in runs})
    seconds = [trial.cost["seconds"] for trial in results.trials if "seconds" in trial.cost]
    took = f" A run took {fmean(seconds):.0f} seconds on average." if seconds else ""
    return (
        f"Hardware: {'; '.join(_list_hardware(results)) or 'none recorded'}. Device and "
        f"precision: {', '.join(sorted(get_devices(results))) or 'no run yet'}. Versions: "
        f"{written or 'none recorded'}. Code: {', '.join(codes) or 'none recorded'}.{took}"
    )


def _list_hardware(results: Results) -> list[str]:
    machines = [trial.run.machine for trial in results.trials if trial.run.machine]
    return sorted({f"{one.cores} cores, {one.processor}, {one.platform}" for one in machines})


def _write_files() -> str:
    parquet = "and scores.parquet " if find_spec("pyarrow") else ""
    return (
        f"{FILES_PREFIX} scores.csv {parquet}(one row per trial, task, probe and pooling); every "
        "table as CSV and LaTeX, every figure as PDF, SVG and PNG."
    )


def get_devices(results: Results) -> set[str]:
    """Returns the kinds of device with their precision: `cpu fp32`, without a GPU's index."""
    records = [trial.run.record for trial in results.trials]
    return {
        f"{record.device.partition(':')[0]} {record.precision}"
        for record in records
        if record.device and record.precision  # known once a run has trained
    }


def get_versions(results: Results) -> dict[str, set[str]]:
    """Returns the versions of each library that the runs recorded."""
    found: dict[str, set[str]] = {}
    for trial in results.trials:
        for name, version in trial.run.record.versions.items():
            found.setdefault(name, set()).add(str(version))
    return found
