"""The interface of a logger: what a tracker of experiments gets to know about one run."""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "ablate.dashboards.loggers"
LOGGERS = {  # name -> class of a module of this package, and the library that it needs
    "wandb": ("wandb_logger.WandbLogger", "wandb"),
    "mlflow": ("mlflow_logger.MlflowLogger", "mlflow"),
    "trackio": ("trackio_logger.TrackioLogger", "trackio"),
}


class LoggerError(RuntimeError):
    """A logger that does not exist, or whose library is not installed."""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """A run as a tracker shows it."""

    study: str
    key: str  # identifies the run for ever; the same run continues under the same key
    name: str  # levels and seed
    settings: Mapping[str, Any]  # dotted path -> value, with the level of each factor and the seed
    folder: Path  # for files of the tracker, if it keeps them on this disk


class AbstractLogger(ABC):
    """Writes runs to a tracker, one after another."""

    @abstractmethod
    def start(self, run: LoggedRun) -> None:
        """Begins a run, or continues one of the same key."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values of one step; steps rise."""

    @abstractmethod
    def finish(self, summary: Mapping[str, float], *, has_ended: bool) -> None:
        """Closes the run for now.

        Args:
            summary: Results of the run, such as its validation score.
            has_ended: Whether the run is done; otherwise it will be continued.
        """


def create_logger(name: str) -> AbstractLogger:
    """Creates a logger by its name.

    Raises:
        LoggerError: If there is no such logger, or its library is not installed.
    """
    if name not in LOGGERS:
        raise LoggerError(f"no logger `{name}`; there are {', '.join(LOGGERS)}")
    path, library = LOGGERS[name]
    if importlib.util.find_spec(library) is None:
        raise LoggerError(f"{library} is not installed: pip install 'ablate-jepa[{name}]'")
    module, class_name = path.split(".")
    logger: AbstractLogger = getattr(importlib.import_module(f"{PACKAGE}.{module}"), class_name)()
    return logger
