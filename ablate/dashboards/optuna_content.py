"""Writes a study's trials, notes, figures and pictures for optuna-dashboard, and serves it.

Everything is derived from the run folders and the report, and rewritten each time.
"""

import json
import shutil
import socketserver
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState

HOST = "127.0.0.1"
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `set_metric_names`


@dataclass(frozen=True, kw_only=True)
class GridTrial:
    """A finished trial of a grid."""

    params: Mapping[str, str]  # factor -> label, and the seed
    score: float | None  # percent; None if it failed
    note: str  # Markdown
    facts: Mapping[str, Any]
    pictures: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """Note, figures and pictures of a study, beside its trials."""

    note: str  # Markdown
    figures: Mapping[str, Mapping[str, Any]]  # name -> figure as plotly JSON
    pictures: Sequence[Path]


class DashboardStorage:
    """An Optuna storage and a folder of pictures, as optuna-dashboard reads them.

    Pictures are copied into the folder `artifacts`, which is emptied first.
    """

    def __init__(self, storage: BaseStorage, artifacts: Path) -> None:
        shutil.rmtree(artifacts, ignore_errors=True)
        artifacts.mkdir(parents=True)
        self._storage = storage
        self._artifacts = FileSystemArtifactStore(str(artifacts))

    def list_studies(self) -> list[str]:
        """Returns the names of the studies in the storage."""
        return optuna.get_all_study_names(self._storage)

    def write_grid(
        self, name: str, metric: str, trials: Sequence[GridTrial], page: StudyPage
    ) -> None:
        """Writes the finished trials of a grid as a study, replacing one of the same name.

        `metric` is the name of the score. Trials may lack parameters that others have.
        """
        if name in self.list_studies():
            optuna.delete_study(study_name=name, storage=self._storage)
        study = optuna.create_study(storage=self._storage, study_name=name, direction="maximize")
        study.set_metric_names([metric])
        choices = {
            key: tuple(dict.fromkeys(t.params[key] for t in trials if key in t.params))
            for key in dict.fromkeys(key for trial in trials for key in trial.params)
        }
        for trial in trials:
            self._add(study, trial, choices)
        self.write_page(name, page)

    def write_page(self, name: str, page: StudyPage) -> None:
        """Writes the note, figures and pictures of a study."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        optuna_dashboard.save_note(study, page.note)
        for key, figure in page.figures.items():
            optuna_dashboard.save_plotly_graph_object(
                study, _PlotlyFigure(figure), graph_object_id=key
            )
        for picture in page.pictures:
            upload_artifact(
                artifact_store=self._artifacts, file_path=str(picture), study_or_trial=study
            )

    def iterate_finished(
        self, name: str
    ) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
        """Yields the number, parameters and attributes of each finished trial of a study."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for trial in study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                yield trial.number, trial.params, trial.user_attrs

    def write_notes(self, name: str, notes: Mapping[int, str]) -> None:
        """Writes notes of trials, by the trials' numbers."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for trial in study.get_trials(deepcopy=False):
            if trial.number in notes:
                live = optuna.trial.Trial(study, trial._trial_id)
                if optuna_dashboard.get_note(live) != notes[trial.number]:
                    optuna_dashboard.save_note(live, notes[trial.number])

    def create_server(self, port: int) -> WSGIServer:
        """Opens the dashboard on 127.0.0.1; port 0 is any free port.

        Raises:
            OSError: The port is in use.
        """
        application = optuna_dashboard.wsgi(self._storage, artifact_store=self._artifacts)
        return make_server(HOST, port, application, _ThreadingServer, _QuietHandler)

    def _add(
        self, study: optuna.Study, entry: GridTrial, choices: Mapping[str, tuple[str, ...]]
    ) -> None:
        running = optuna.create_trial(
            state=TrialState.RUNNING,
            params=dict(entry.params),
            distributions={key: CategoricalDistribution(choices[key]) for key in entry.params},
            user_attrs=dict(entry.facts),
        )
        number = self._storage.create_new_trial(study._study_id, template_trial=running)
        trial = optuna.trial.Trial(study, number)
        optuna_dashboard.save_note(trial, entry.note)
        for picture in entry.pictures:  # a finished trial accepts none
            upload_artifact(
                artifact_store=self._artifacts, file_path=str(picture), study_or_trial=trial
            )
        if entry.score is None:
            self._storage.set_trial_state_values(number, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(number, TrialState.COMPLETE, [entry.score])


@dataclass(frozen=True)
class _PlotlyFigure:
    """A figure in the form that the dashboard accepts, without importing plotly."""

    figure: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.figure)


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    """Serves each connection in a thread, because browsers open idle connections."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Keeps the requests out of the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        pass
