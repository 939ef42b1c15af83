"""The model card: what an exported encoder is, how to use it, and what it scored. Markdown."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.files import read_json

_HEAD = """---
library_name: ablate
license: unknown
pipeline_tag: feature-extraction
tags: [audio, self-supervised, jepa]
---

# Run {run}

An audio encoder trained with `ablate`: encoder {encoder}, patches {patchifier}, front end {mel}.
It was trained with {masker} masks for {steps} steps of {batch} clips each, seed {seed}. Weights:
sha256 `{weights}`. Before you publish it, add a licence and say what it was trained on.

## Use

```python
import ablate

encoder = ablate.load_encoder("this/folder")
features = encoder.features("dog.wav")  # (dim,): one vector for a sound of any length
```

`encoder.moments(waveforms)` gives features over time. `xares_encoder.py` is the encoder for X-ARES,
`ablate.export.hear` the module for HEAR, whose model path is this folder.
"""


def card(told: Mapping[str, Any], settings: Mapping[str, Any], run: Path) -> str:
    """Writes the card of a run: `told` is what `encoder.json` holds, `settings` are the run's."""
    names = {part: settings[part]["type"] for part in ("encoder", "patchifier", "mel", "masker")}
    head = _HEAD.format(
        run=told["run"],
        weights=told["weights"],
        seed=settings["seed"],
        steps=settings["budget"]["steps"],
        batch=settings["budget"]["batch"],
        **{part: f"`{name}`" for part, name in names.items()},
    )
    kept = json.dumps(settings, indent=1)
    return "\n".join([head, *_scores(run), f"## Settings\n\n```json\n{kept}\n```", ""])


def _scores(run: Path) -> Iterator[str]:
    rows = []
    for file in sorted(run.glob("probes/*/*.json")):
        told = read_json(file)
        probe = told["settings"]["type"].rpartition(".")[2]
        for view, score in told["scores"].items():
            if score["test"] is not None:
                metric = score.get("metric", "accuracy")
                rows.append((told["task"], probe, view, metric, f"{score['test']:.1f}"))
    if rows:
        yield "## Scores of the frozen encoder, in percent\n"
        yield "| task | probe | view | metric | test |\n| --- | --- | --- | --- | --- |"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""
