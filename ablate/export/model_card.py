"""Formats the model card (Markdown) of an exported encoder: settings, usage and scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablate.core.distribution import DISTRIBUTION
from ablate.core.records.export import CardDetails, ExportedEncoder
from ablate.export.run_results import ExportedScore, remove_locations

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
    record: ExportedEncoder,
    settings: Mapping[str, Any],
    results: Sequence[ExportedScore],
    details: CardDetails,
) -> str:
    """Formats the model card. It contains no path of the disk on which the run lies.

    Args:
        record: the content of `encoder.json`.
        settings: the settings of the run.
        results: the scores of the run.
        details: licence, data sets and citation.
    """
    names = {part: settings[part]["type"] for part in ("encoder", "patchifier", "mel", "masker")}
    head = _HEAD.format(
        run=record.run,
        weights=record.weights,
        distribution=DISTRIBUTION,
        version=record.version,
        metadata=_format_metadata(record.run, results, details),
        data=_format_data(details),
        modules=_format_modules(record),
        seed=settings["seed"],
        steps=settings["budget"]["steps"],
        batch=settings["budget"]["batch"],
        **{part: f"`{name}`" for part, name in names.items()},
    )
    listed = json.dumps(remove_locations(settings), indent=1)
    last = f"## Settings\n\nPaths are shortened to their last name.\n\n```json\n{listed}\n```"
    cite = [f"## Citation\n\n```bibtex\n{details.citation}\n```\n"] if details.citation else []
    return "\n".join([head, *_format_scores(results), *cite, last, ""])


def _format_metadata(name: str, results: Sequence[ExportedScore], details: CardDetails) -> str:
    """Formats the metadata that the Hugging Face Hub reads, as YAML in the notation of JSON.

    https://huggingface.co/docs/hub/model-cards
    """
    listed = [
        {
            "task": {"type": "audio-classification"},
            "dataset": {"name": result.task, "type": result.task},
            "metrics": [
                {
                    "type": result.metric,
                    "value": round(result.value, 4),
                    "name": f"{result.metric} of {result.probe} on {result.view}, {result.unit}",
                }
            ],
        }
        for result in results
    ]
    metadata = {
        "library_name": "ablate",
        "license": details.license,
        "pipeline_tag": "feature-extraction",
        "tags": ["audio", "self-supervised", "jepa"],
        **({"datasets": list(details.datasets)} if details.datasets else {}),
        **({"model-index": [{"name": name, "results": listed}]} if results else {}),
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


def _format_scores(results: Sequence[ExportedScore]) -> Iterator[str]:
    if results:
        yield "## Metrics of the frozen encoder, in percent (mae in units of the labels)\n"
        yield "| task | probe | view | metric | test |\n| --- | --- | --- | --- | --- |"
        for row in results:
            cells = [cell.replace("|", r"\|") for cell in row[:4]]
            yield f"| {' | '.join(cells)} | {row.text} |"
        yield ""
