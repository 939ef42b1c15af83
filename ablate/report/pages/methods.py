"""Describes how a study was done: its experimental protocol, data, hardware and versions."""

from collections.abc import Iterator
from importlib.util import find_spec
from statistics import fmean

from ablate.core.records.plan import DataSummary, StudyPlan, TaskSummary
from ablate.report.pages.design_sentences import write_design
from ablate.report.results import Results
from ablate.report.stats.decision_rules import format_coverage, read_decision_rules
from ablate.report.stats.residuals import MIN_LEVELS, MIN_SEEDS_OF_TEST
from ablate.report.stats.verdicts import FAMILIES

FILES_PREFIX = "Files next to this page:"  # start of the paragraph that lists them


def write_protocol(results: Results) -> list[str]:
    """Writes the protocol, one paragraph per entry."""
    return [
        write_design(results),
        _write_statistics(results),
        *_write_budget(results),
        *_write_tokens(results),
        _write_data(results),
        _write_machines(results),
        _write_files(),
        _write_terms(results),
    ]


def _write_budget(results: Results) -> list[str]:
    by = results.plan.match_budget
    if by is None:
        return []
    flops = "FLOPs (counted before training, over sampled masks on whole clips)"
    unit = {"flops": flops}.get(by, by)
    return [f"Every variant was trained for as many {unit} as the baseline."]


def _write_statistics(results: Results) -> str:
    rules = read_decision_rules(results.plan)
    families = [
        text
        for name, text in FAMILIES.items()
        if name != "confirmation" or results.confirmation_trials
    ]
    return (
        "The unit of replication is the pre-training seed: intervals and verdicts concern new "
        "seeds on these clips. They do not include the variation between corpora and between "
        "draws of test clips. Each level is contrasted with the baseline level of its factor "
        "within every combination of the other factors, paired by seed. The pooled estimate is "
        "over seed means: for each seed that has every combination, the mean of its differences. "
        f"Its error is {_write_errors(results)}. Whether the difference depends on the "
        "combination is tested within seeds, by a paired t-test between every two combinations; "
        "if it does, there is no pooled verdict. Factors that change the random-init encoder are "
        f"compared by the gain over it{_write_random_inits(results)}. Intervals of differences are "
        f"{format_coverage(rules.look_alpha)}, uncorrected. P-values are Holm-corrected within "
        f"each of {len(families)} families: {', '.join(families)}; one within a combination is at "
        "least twice the smaller of the p-values of its pooled contrast and its interaction. So "
        "if all variants are equal, a pooled better or worse is false in at most "
        f"{100 * rules.alpha:.4g} % of such studies, and pooled ones and those within a "
        f"combination together in at most {150 * rules.alpha:.4g} %; claims of an interaction, of "
        "learning and about baselines without training each add at most "
        f"{100 * rules.alpha:.4g} %. Two levels are called "
        "equivalent when two one-sided tests, also Holm-corrected, place the difference within "
        f"{rules.margin:g} points. {_write_looks(results)}With the seeds named for an undecided "
        "contrast, four studies in five would settle it, as a difference or as equivalence, if the "
        "observed difference and spread are the true ones, at the family's strictest level; the "
        "range holds 80 % of the numbers that other true differences and spreads would give. They "
        "must be fresh: seeds added to a study with fixed seeds raise its error rate to 8 to 11 %. "
        "Failed and pruned trials enter no mean; if the shares of trials without a score differ, "
        "no level is called better or equivalent. Collapsed trials that could be probed keep their "
        f"score.{_write_confirmation(results)}"
    )


def _write_random_inits(results: Results) -> str:
    count = results.num_random_inits
    if count == 1:
        return ""
    return (
        f": for each seed the mean score of {count} untrained encoders, its own and {count - 1} "
        "that no other seed uses"
    )


def _write_terms(results: Results) -> str:
    """Writes what the terms of this page mean, those that occur on it."""
    terms = {
        "random init": "the same encoder before training, scored by the same probe",
        "gain": "the score minus that at random init: what training adds",
        "learning contrast": "a trained encoder against its random init",
        "mel statistics": "the log-mel bands, pooled as the tokens of the encoder are",
        "pooled": "over all combinations of the other factors",
        "within": "a contrast in one combination of the other factors",
        "gate": "what a word within a combination also requires of the pooled contrast",
        "guard": "what keeps residuals of calm levels from making a noisy level look certain",
        "look": "a report on the first seeds, after which some may be added",
        "margin": "points within which two levels count as equal, declared by the study",
    }
    if read_decision_rules(results.plan).looks is None:
        del terms["look"]
    return f"Terms. {'; '.join(f'{term}: {meaning}' for term, meaning in terms.items())}."


def _write_errors(results: Results) -> str:
    """Writes from what the errors of differences are estimated."""
    own = "that of Student's t with seeds - 1 degrees of freedom"
    if all(len(levels) < MIN_LEVELS for levels in results.plan.factors.values()):
        return own
    return (
        f"{own} or, for factors of three or more levels, from the residuals of all levels (levels "
        "x seeds, blocked by seed): the largest of the variance of its own differences, that of "
        "either level and half the pooled one, with the null distribution of this maximum under "
        f"equal spreads; the former from {MIN_SEEDS_OF_TEST} seeds on if Cochran's test rejects "
        "equal spreads at 1 %"
    )


def _write_confirmation(results: Results) -> str:
    if not results.confirmation_trials:
        return ""
    seeds = ", ".join(map(str, sorted({trial.seed for trial in results.confirmation_trials})))
    return (
        " The leading variants by validation score, and the baseline, were trained again with "
        f"fresh seeds ({seeds}); the confirmation uses only these, and no other mean does. Its "
        f"intervals are {format_coverage(read_decision_rules(results.plan).alpha)}, since there "
        "is one look."
    )


def _write_looks(results: Results) -> str:
    looks = read_decision_rules(results.plan).looks
    if looks is None:
        return ""
    at = ", ".join(map(str, looks.seed_counts))
    return (
        f"Of up to {looks.max_seeds} declared seeds, looks at the verdicts were taken with {at}. "
        "The error rate spent up to a look is the cube of its share of the declared seeds, and the "
        "boundary of each look follows from the joint distribution of t over the looks. P-values "
        "are the error rates over all looks at which they would decide; intervals have the level "
        "of the last look. A decision at a look is final, with its p-value. "
    )


def _write_tokens(results: Results) -> Iterator[str]:
    """Yields the duration and overlap of tokens for each patchifier and front end."""
    levels_by_text: dict[str, list[str]] = {}
    for trial in results.plan.trials:
        text = "; ".join(trial.facts.tokens.messages if trial.facts.tokens else ())
        cut = [
            label
            for factor, label in trial.levels.items()
            if factor.split(".")[0] in ("patchifier", "mel", "crop_frames", "crop_seconds")
        ]
        labels = levels_by_text.setdefault(text, [])
        if ", ".join(cut) not in labels:
            labels.append(", ".join(cut))
    texts = [
        f"{' and '.join(labels)}: {text}" if any(labels) else text
        for text, labels in levels_by_text.items()
        if text
    ]
    if texts:
        yield f"Tokens: {'. '.join(texts)}."


def _write_data(results: Results) -> str:
    sources = []
    for data in results.plan.data:
        tasks = "; ".join(f"{name} ({_format_counts(task)})" for name, task in data.tasks.items())
        sources.append(
            f"{data.clips} clips{_format_pretraining_clips(data)} (digest {data.digest}, "
            f"{len(data.skipped)} skipped); tasks: {tasks}"
        )
    return "Data: " + ". ".join(sources) + "."


def _format_pretraining_clips(data: DataSummary) -> str:
    count = data.pretraining_clips
    return f", {count} of them for pre-training" if count else ", for probing only"


def _format_counts(task: TaskSummary) -> str:
    counts = {"train": task.train, "valid": task.valid, "test": task.test, "folds": task.folds}
    labels = f"{task.classes} classes" if task.classes else "numbers"
    return ", ".join([labels, *(f"{count} {name}" for name, count in counts.items() if count)])


def _write_machines(results: Results) -> str:
    runs = [trial.run for trial in results.trials if trial.run.exists]
    versions = sorted(get_versions(results).items())
    libraries = ", ".join(f"{name} {' / '.join(sorted(used))}" for name, used in versions)
    codes = sorted({(run.record.code and run.record.code.commit) or "unknown" for run in runs})
    seconds = [trial.cost["seconds"] for trial in results.trials if "seconds" in trial.cost]
    duration = f" A run took {fmean(seconds):.0f} seconds on average." if seconds else ""
    kernels = sorted({name for run in runs for name in run.record.attention})
    attention = f" Attention kernels: {', '.join(kernels)}." if kernels else ""
    return (
        f"Hardware: {'; '.join(_list_hardware(results)) or 'none recorded'}. Device and "
        f"precision: {', '.join(sorted(get_devices(results))) or 'no run yet'}. Versions: "
        f"{libraries or 'none recorded'}. Code: {', '.join(codes) or 'none recorded'}.{attention}"
        f"{duration}"
    )


def _list_hardware(results: Results) -> list[str]:
    machines = [trial.run.machine for trial in results.trials if trial.run.machine]
    return sorted({f"{m.cores} cores, {m.processor}, {m.platform}" for m in machines})


def _write_files() -> str:
    parquet = "and scores.parquet " if find_spec("pyarrow") else ""
    return (
        f"{FILES_PREFIX} scores.csv {parquet}(one row per trial, task, probe and pooling); every "
        "table as CSV and LaTeX, every figure as PDF, SVG and PNG."
    )


def format_data_summary(plan: StudyPlan) -> str:
    """Formats the clips of a study: `3,600 clips of synthetic sound (music, speech)`."""
    trained = [_format_clips(data) for data in plan.data if not is_probe_only(data)]
    probed = [_format_clips(data) for data in plan.data if is_probe_only(data)]
    pieces = [" or ".join(trained)] if trained else []
    return ", probed on ".join([*pieces, *([" and ".join(probed)] if probed else [])])


def is_probe_only(data: DataSummary) -> bool:
    """Checks whether no clip of a data source is used in pre-training."""
    return data.pretraining_clips == 0


def get_devices(results: Results) -> set[str]:
    """Returns the kinds of device with their precision: `cpu fp32`, without a GPU's index."""
    records = [trial.run.record for trial in results.trials]
    return {
        f"{record.device.partition(':')[0]} {record.precision}"
        for record in records
        if record.device and record.precision  # recorded when training starts
    }


def get_versions(results: Results) -> dict[str, set[str]]:
    """Returns the versions of each library that the runs recorded."""
    versions: dict[str, set[str]] = {}
    for trial in results.trials:
        for name, version in trial.run.record.versions.items():
            versions.setdefault(name, set()).add(str(version))
    return versions


def _format_clips(data: DataSummary) -> str:
    count, names = f"{data.clips:,} clips", ", ".join(data.tasks)
    if data.synthetic:
        return f"{count} of synthetic sound{f' ({names})' if names else ''}"
    return f"{count} of {names}" if names else count
