"""Writes runs to MLflow: to MLFLOW_TRACKING_URI, or to an SQLite file beside the report."""

import os
import time
from collections.abc import Mapping

from ablate.dashboards.loggers.logger import AbstractLogger, LoggedRun

KEY = "ablate.key"  # tag with the key of a run
MAX_PARAM = 6000  # characters that a store accepts


class MlflowLogger(AbstractLogger):
    """An experiment per study, a run per trial."""

    def start(self, run: LoggedRun) -> None:
        """Begins or continues a run."""
        from mlflow import MlflowClient  # an extra
        from mlflow.entities import Param

        run.folder.mkdir(parents=True, exist_ok=True)
        default = f"sqlite:///{(run.folder / 'mlflow.db').absolute()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or default)
        experiment = self._client.get_experiment_by_name(run.study)
        number = (
            experiment.experiment_id if experiment else self._client.create_experiment(run.study)
        )
        present = self._client.search_runs([number], f"tags.`{KEY}` = '{run.key}'")
        if present:
            self._run = present[0].info.run_id
            return
        created = self._client.create_run(number, run_name=run.name, tags={KEY: run.key})
        self._run = created.info.run_id
        params = [Param(name, str(value)[:MAX_PARAM]) for name, value in run.settings.items()]
        self._client.log_batch(self._run, params=params)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values of one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def finish(self, summary: Mapping[str, float], *, has_ended: bool) -> None:
        """Closes the run, or leaves it running."""
        for name, value in summary.items():
            self._client.log_metric(self._run, name, value)
        if has_ended:
            self._client.set_terminated(self._run)
