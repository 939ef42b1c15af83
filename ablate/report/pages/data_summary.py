"""Describes the data of a study: the number of clips, and test clips used in pre-training."""

from collections.abc import Iterator

from ablate.core.records.plan import DataSummary, StudyPlan


def format_data_summary(plan: StudyPlan) -> str:
    """Formats the clips of a study: `3,600 clips of synthetic sound (music, speech)`."""
    trained = [_format_clips(data) for data in plan.data if not _is_probe_only(data)]
    examined = [_format_clips(data) for data in plan.data if _is_probe_only(data)]
    words = [" or ".join(trained)] if trained else []
    return ", probed on ".join([*words, *([" and ".join(examined)] if examined else [])])


def warn_of_pretrained_test_clips(plan: StudyPlan) -> Iterator[str]:
    """Warns of test clips that were used, unlabelled, in pre-training, as with folds."""
    for data in plan.data:
        folded = [name for name, task in data.tasks.items() if task.folds]
        if folded and not _is_probe_only(data):
            verb = "has" if len(folded) == 1 else "have"
            count = data.pretraining_clips
            yield (
                f"Test clips were used, unlabelled, in pre-training: {', '.join(folded)} {verb} "
                f"folds, so encoders were pre-trained, and inputs normalised, on {count:,} of "
                f"{data.clips:,} clips, including those on which probes are tested. Scores on "
                "new clips may be lower."
            )


def _format_clips(data: DataSummary) -> str:
    count, names = f"{data.clips:,} clips", ", ".join(data.tasks)
    if data.synthetic:
        return f"{count} of synthetic sound{f' ({names})' if names else ''}"
    return f"{count} of {names}" if names else count


def _is_probe_only(data: DataSummary) -> bool:
    return data.pretraining_clips == 0
