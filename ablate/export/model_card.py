"""Formats the model card (Markdown) of an exported encoder: settings, usage and scores."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from ablate.core.distribution import DISTRIBUTION
from ablate.core.records.export import CardDetails, ExportedEncoder
from ablate.core.records.score import ScoreFile
from ablate.parts import PartError, build, resolve

_OTHER_COLUMNS = ("views", "tasks", "content", "version")  # settings not shown with the probe

_HEAD = """---
{metadata}
---

# Run {run}

An audio encoder trained with `ablate` {version}: encoder {encoder}, patches {patchifier}, front end
{mel}. It was trained with {masker} masks for {steps} steps of {batch} clips each, seed {seed}.
Weights: sha256 `{weights}`. {data}

## Use

```
pip install "{distribution}>={version}"
```

```python
import ablate

encoder = ablate.load_encoder("this/folder")  # or "owner/name" on the Hugging Face Hub
features = encoder.features("dog.wav")  # (dim,): one vector for audio of any length
```

`encoder(waveforms)` and `encoder.features_over_time(waveforms)` return features over time, with and
without gradients. `transformers.AutoModel.from_pretrained("this/folder", trust_remote_code=True)`
loads the same encoder. For X-ARES and XARES-LLM use `xares_encoder.py`, for HEAR the module
`ablate.export.hear` with this folder as the model path, for MTEB `ablate.export.mteb.MtebEncoder`.
{modules}"""

NO_DETAILS = CardDetails()


def format_model_card(
    record: ExportedEncoder, settings: Mapping[str, Any], run: Path, details: CardDetails
) -> str:
    """Formats the model card. It contains no path of the disk on which the run lies.

    Args:
        record: the content of `encoder.json`.
        settings: the settings of the run.
        run: the folder of the run, whose scores are listed.
        details: licence, data sets and citation.
    """
    names = {part: settings[part]["type"] for part in ("encoder", "patchifier", "mel", "masker")}
    head = _HEAD.format(
        run=record.run,
        weights=record.weights,
        distribution=DISTRIBUTION,
        version=record.version,
        metadata=_format_metadata(record.run, run, details),
        data=_format_data(details),
        modules=_format_modules(record),
        seed=settings["seed"],
        steps=settings["budget"]["steps"],
        batch=settings["budget"]["batch"],
        **{part: f"`{name}`" for part, name in names.items()},
    )
    listed = json.dumps(_remove_locations(settings), indent=1)
    last = f"## Settings\n\nPaths are shortened to their last name.\n\n```json\n{listed}\n```"
    cite = [f"## Citation\n\n```bibtex\n{details.citation}\n```\n"] if details.citation else []
    return "\n".join([head, *_format_scores(run), *cite, last, ""])


class _Result(NamedTuple):
    task: str
    probe: str
    view: str
    metric: str
    test: float  # percent


def _list_results(run: Path) -> Iterator[_Result]:
    for file in sorted(run.glob("probes/*/*.json")):
        result = ScoreFile.read(file)
        probe = _format_probe(result.settings)
        for view, score in result.scores.items():
            if score.test is not None:
                yield _Result(result.task, probe, view, score.metric, score.test)


def _format_metadata(name: str, run: Path, details: CardDetails) -> str:
    """Formats the metadata that the Hugging Face Hub reads, as YAML in the notation of JSON.

    https://huggingface.co/docs/hub/model-cards
    """
    results = [
        {
            "task": {"type": "audio-classification"},
            "dataset": {"name": result.task, "type": result.task},
            "metrics": [
                {
                    "type": result.metric,
                    "value": round(result.test, 2),
                    "name": f"{result.metric} of {result.probe} on {result.view}, percent",
                }
            ],
        }
        for result in _list_results(run)
    ]
    metadata = {
        "library_name": "ablate",
        "license": details.license,
        "pipeline_tag": "feature-extraction",
        "tags": ["audio", "self-supervised", "jepa"],
        **({"datasets": list(details.datasets)} if details.datasets else {}),
        **({"model-index": [{"name": name, "results": results}]} if results else {}),
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata.items())


def _format_data(details: CardDetails) -> str:
    if details.datasets:
        return f"It was trained on {', '.join(details.datasets)}."
    return "Before you publish it, add a licence and describe the training data."


def _format_modules(record: ExportedEncoder) -> str:
    if not record.modules:
        return ""
    names = ", ".join(f"`{name}`" for name in record.modules)
    if not record.source:
        return f"\nIt needs the module {names}, which is not of `ablate`: install it.\n"
    return (
        f"\nIt has parts of the module {names}, whose source is in `source/`. Read it, then load "
        'the encoder with `ablate.load_encoder("this/folder", trust_source=True)`.\n'
    )


def _format_scores(run: Path) -> Iterator[str]:
    rows = list(_list_results(run))
    if rows:
        yield "## Scores of the frozen encoder, in percent\n"
        yield "| task | probe | view | metric | test |\n| --- | --- | --- | --- | --- |"
        yield from (f"| {' | '.join(row[:4])} | {row.test:.1f} |" for row in rows)
        yield ""


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
        f"{name}={json.dumps(_remove_locations(value))}" for name, value in changed.items()
    )
    name = own["type"].rpartition(".")[2]
    return f"{name}({listed})".replace("|", r"\|") if listed else name


def _remove_locations(value: Any) -> Any:
    """Shortens paths to their last name, since the rest would only reveal the machine."""
    if isinstance(value, Mapping):
        return {key: _remove_locations(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_remove_locations(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PureWindowsPath(value).name  # it splits at both kinds of slashes
    return value
