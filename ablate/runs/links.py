"""Links the runs of a study under readable names: `reports/STUDY/runs/block--strips--seed-0`."""

import os
import re
from contextlib import suppress
from pathlib import Path

from ablate.core.records.plan import StudyPlan, TrialEntry

FOLDER = "runs"


def write_links(plan: StudyPlan, runs: Path, report: Path) -> None:
    """Writes a link to the folder of each trial beside a report, and removes links of others.

    A link whose run has not started leads nowhere yet. On a disk without links there are none.
    """
    folder = report / FOLDER
    wanted = {format_link_name(trial): trial.fingerprint for trial in plan.trials}
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for link in folder.iterdir():
            if link.is_symlink() and link.name not in wanted:
                link.unlink()
        for name, fingerprint in wanted.items():
            target = os.path.relpath(runs.absolute() / fingerprint, folder.absolute())
            _replace_link(folder / name, target)


def format_link_name(trial: TrialEntry) -> str:
    """Formats the levels and the seed of a trial as a file name."""
    labels = [re.sub(r"[^\w.+=-]+", "_", label) for label in trial.levels.values()]
    return "--".join([*labels, f"seed-{trial.seed}"])


def _replace_link(link: Path, target: str) -> None:
    if link.is_symlink() and str(link.readlink()) != target:
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(target, target_is_directory=True)
