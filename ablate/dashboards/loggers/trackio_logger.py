"""Writes runs to trackio, whose files are in TRACKIO_DIR or beside the report."""

import os
from collections.abc import Mapping

from ablate.dashboards.loggers.logger import AbstractLogger, LoggedRun


class TrackioLogger(AbstractLogger):
    """A project per study, a run per trial. `trackio show` serves them."""

    def start(self, run: LoggedRun) -> None:
        """Begins or continues a run."""
        os.environ.setdefault("TRACKIO_DIR", str(run.folder.absolute()))
        import trackio  # reads the variable when it is imported

        self._run = trackio.init(
            project=run.study,
            name=f"{run.name}, {run.key}",
            config=dict(run.settings),
            resume="allow",
            embed=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values of one step."""
        self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, float], *, has_ended: bool) -> None:
        """Closes the run; trackio has no summary, so its values are those of a last step."""
        if summary:
            self._run.log(dict(summary))
        self._run.finish()
