"""Lists the scores of a run for its model card, and formats those for a leaderboard of the Hub."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from ablate.core.records.export import Benchmark
from ablate.core.records.score import ScoreFile
from ablate.parts import PartError, build, resolve

EVAL_RESULTS = ".eval_results"  # folder of a model repository
# settings not shown with the probe
_OTHER_COLUMNS = ("views", "tasks", "content", "label_procedure", "version")


class ExportedScore(NamedTuple):
    """What one probe measured on the test clips of one task."""

    task: str
    probe: str  # class and settings
    view: str
    metric: str
    value: float  # the metric; for an error rate not the score, which is 100 minus the rate

    @property
    def unit(self) -> str:
        """The unit of the value."""
        return "units of the labels" if self.metric == "mae" else "percent"

    @property
    def text(self) -> str:
        """The value as the model card shows it."""
        return f"{self.value:.4g}" if self.metric == "mae" else f"{self.value:.1f}"


def list_results(run: Path) -> Iterator[ExportedScore]:
    """Yields the metric of every score in the folder of a run."""
    for file in sorted(run.glob("probes/*/*.json")):
        result = ScoreFile.read(file)
        probe = _format_probe(result.settings)
        for view, score in result.scores.items():
            if score.test is not None:
                value = score.metrics.get(score.metric, score.test)
                yield ExportedScore(result.task, probe, view, score.metric, value)


def create_eval_results(
    results: Sequence[ExportedScore], benchmarks: Sequence[Benchmark]
) -> dict[str, str]:
    """Returns the files by which the Hugging Face Hub lists scores on leaderboards, by name.

    https://huggingface.co/docs/hub/eval-results: every score of a benchmark is a file of its own,
    whose `notes` say how it was measured. Files are YAML in the notation of JSON.

    Raises:
        ValueError: For a task without scores.
    """
    files: dict[str, str] = {}
    numbers: Counter[str] = Counter()  # files of each task
    tasks = sorted({result.task for result in results})
    for benchmark in dict.fromkeys(benchmarks):
        own = [result for result in results if result.task == benchmark.task]
        if not own:
            raise ValueError(
                f"the run has no score of task `{benchmark.task}` to list on `{benchmark.dataset}`,"
                f" but of {', '.join(tasks) or 'none'}"
            )
        for result in own:
            numbers[benchmark.task] += 1
            entry = {
                "dataset": {"id": benchmark.dataset, "task_id": benchmark.task_id},
                "value": round(result.value, 4),
                "notes": f"frozen encoder, {result.probe} on {result.view}, {result.metric} in "
                f"{result.unit}",
            }
            name = f"{benchmark.task}-{numbers[benchmark.task]}.yaml"
            files[f"{EVAL_RESULTS}/{name}"] = json.dumps([entry], indent=2) + "\n"
    return files


def _format_probe(settings: Mapping[str, Any]) -> str:
    """Formats a probe as its class and the settings that differ from the defaults: `KNN(k=200)`.

    Clips of its own are given by the first digits of their digest.
    """
    own = {name: value for name, value in settings.items() if name not in _OTHER_COLUMNS}
    only_type = {"type": own["type"]}
    try:
        values, defaults = (resolve(build(some, expect=object)) for some in (own, only_type))
    except PartError:  # the class is not installed, has changed, or has required settings
        values, defaults = own, only_type
    values["version"] = settings.get("version", 1)
    defaults = {"version": 1, **defaults}
    changed = {name: value for name, value in values.items() if value != defaults.get(name)}
    if content := settings.get("content"):
        changed["clips"] = content["digest"][:8]
    listed = ", ".join(
        f"{name}={json.dumps(remove_locations(value))}" for name, value in changed.items()
    )
    name = own["type"].rpartition(".")[2]
    return f"{name}({listed})" if listed else name


def remove_locations(value: Any) -> Any:
    """Shortens paths to their last name, since the rest would only reveal the machine."""
    if isinstance(value, Mapping):
        return {key: remove_locations(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [remove_locations(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PureWindowsPath(value).name  # it splits at both kinds of slashes
    return value
