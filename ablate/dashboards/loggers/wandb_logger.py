"""Writes runs to Weights & Biases; offline, unless WANDB_MODE says otherwise.

Offline files are uploaded with `wandb sync FOLDER/wandb/offline-run-*`.
"""

import os
from collections.abc import Mapping
from typing import Any

from ablate.dashboards.loggers.logger import AbstractLogger, LoggedRun


class WandbLogger(AbstractLogger):
    """A project per study, a run per trial; its group is the variant."""

    def start(self, run: LoggedRun) -> None:
        """Begins or continues a run."""
        import wandb  # an extra

        run.folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        online: dict[str, Any] = {} if mode == "offline" else {"resume": "allow"}
        self._run = wandb.init(
            project=run.study,
            id=run.key,
            name=run.name,
            config=dict(run.settings),
            dir=str(run.folder),
            mode=mode,
            settings=wandb.Settings(silent=True),
            **online,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values of one step."""
        self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, float], *, has_ended: bool) -> None:
        """Closes the run; its state on the server is always `finished`."""
        self._run.summary.update(dict(summary))
        self._run.finish()
