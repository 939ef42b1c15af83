"""What optuna-dashboard shows of a study: its trials, notes, figures and pictures; and the server.

All of it is derived from the run folders and the report, and written anew each time.
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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One finished trial of a grid."""

    params: Mapping[str, str]  # factor -> label, and the seed
    score: float | None  # percent; None where it failed
    note: str  # Markdown
    facts: Mapping[str, Any]
    pictures: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands beside the trials of a study."""

    note: str  # Markdown
    figures: Mapping[str, Mapping[str, Any]]  # name -> a figure as plotly's JSON
    pictures: Sequence[Path]


class Window:
    """A storage with the pictures that belong to it.

    They are copied into the folder `artifacts`, which is emptied first.
    """

    def __init__(self, storage: BaseStorage, artifacts: Path) -> None:
        shutil.rmtree(artifacts, ignore_errors=True)
        artifacts.mkdir(parents=True)
        self._storage = storage
        self._artifacts = FileSystemArtifactStore(str(artifacts))

    def studies(self) -> list[str]:
        """Names the studies that are in the storage."""
        return optuna.get_all_study_names(self._storage)

    def show_grid(self, name: str, metric: str, entries: Sequence[Entry], page: Page) -> None:
        """Writes a grid's finished trials as a study, in the place of one of that name.

        `metric` names the score. An entry may lack parameters that others have.
        """
        if name in self.studies():
            optuna.delete_study(study_name=name, storage=self._storage)
        study = optuna.create_study(storage=self._storage, study_name=name, direction="maximize")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
        choices = {
            key: tuple(dict.fromkeys(e.params[key] for e in entries if key in e.params))
            for key in dict.fromkeys(key for entry in entries for key in entry.params)
        }
        for entry in entries:
            self._add(study, entry, choices)
        self.decorate(name, page)

    def decorate(self, name: str, page: Page) -> None:
        """Puts a note, figures and pictures beside a study's trials."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        optuna_dashboard.save_note(study, page.note)
        for key, figure in page.figures.items():
            optuna_dashboard.save_plotly_graph_object(study, _Drawn(figure), graph_object_id=key)
        for picture in page.pictures:
            upload_artifact(
                artifact_store=self._artifacts, file_path=str(picture), study_or_trial=study
            )

    def ended(self, name: str) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
        """Yields number, parameters and attributes of each trial of a study that has ended."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for trial in study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                yield trial.number, trial.params, trial.user_attrs

    def annotate(self, name: str, notes: Mapping[int, str]) -> None:
        """Puts a note beside each of some trials, by their numbers."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for trial in study.get_trials(deepcopy=False):
            if trial.number in notes:
                live = optuna.trial.Trial(study, trial._trial_id)
                if optuna_dashboard.get_note(live) != notes[trial.number]:
                    optuna_dashboard.save_note(live, notes[trial.number])

    def server(self, port: int) -> WSGIServer:
        """Opens the dashboard on this machine alone; port 0 is any that is free.

        Raises `OSError` where the port is taken.
        """
        application = optuna_dashboard.wsgi(self._storage, artifact_store=self._artifacts)
        return make_server(HOST, port, application, _Server, _Handler)

    def _add(
        self, study: optuna.Study, entry: Entry, choices: Mapping[str, tuple[str, ...]]
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
        for picture in entry.pictures:  # before the trial's end: then it is closed to them
            upload_artifact(
                artifact_store=self._artifacts, file_path=str(picture), study_or_trial=trial
            )
        if entry.score is None:
            self._storage.set_trial_state_values(number, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(number, TrialState.COMPLETE, [entry.score])


@dataclass(frozen=True)
class _Drawn:
    """A figure in the form that the dashboard accepts, without plotly."""

    figure: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.figure)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A browser may open a connection and say nothing: another thread waits for it."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Keeps the requests out of the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        pass
