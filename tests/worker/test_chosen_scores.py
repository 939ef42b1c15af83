"""A sweep or a confirmation needs a score of validation clips, which not every probe gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from ablate.core.records.planning import PlanReply, PlanRequest
from ablate.executors.progress import create_console
from ablate.parts import PartError
from ablate.study.prepare import check_settings
from ablate.worker.validation import validate


class InThisProcess:
    """Validates trials as a pool of workers does."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def plan(self, request: PlanRequest, on_event: object) -> PlanReply:
        return validate(request, self._cache, lambda message: None)


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ("sweep", {"trials": 2, "space": {"optimizer.rate": [0.001, 0.002]}}),
        ("confirm", {"top": 1, "seeds": 2}),
    ],
)
def test_a_score_of_test_clips_only_cannot_be_chosen_by(
    settings: dict[str, Any], tmp_path: Path, cache: Path, section: str, content: dict[str, Any]
) -> None:
    del settings["seed"]
    study = {
        "study": "speakers",
        "baseline": settings,
        "factors": {"optimizer.rate": [0.01, 0.1]} if section == "confirm" else {},
        "seeds": 2,
        "probes": {
            "pairs": {"type": "ablate.probing.verification.Verification", "trials": "trials.txt"}
        },
        "score": "pairs.mean",
        section: content,
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    pool: Any = InThisProcess(cache)
    with pytest.raises(PartError) as caught:
        check_settings(loader.load(tmp_path / "study.yaml"), pool, create_console())
    assert str(caught.value) == (
        f"`score`: `pairs` scores test clips only, so `{section}` cannot choose by its validation "
        f"score; use another probe's score, or leave `{section}` out"
    )
