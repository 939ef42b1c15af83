"""Recognises that the folder of a run's sound is gone, such as a disk that is not mounted.

The study was planned with that sound, so this says nothing about the trial.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.source import AbstractSource
from ablate.parts import build

REMEDY = "no such file or folder; mount its disk, or put it back"


def describe_lost_sound(error: BaseException, settings: Mapping[str, Any]) -> str | None:
    """Returns which file or folder of the sound is gone, with the remedy; None if none is.

    Args:
        error: what ended the run.
        settings: the settings of the run.
    """
    try:
        location = build(settings["data"], expect=AbstractSource).location
    except Exception:  # a user's part may raise anything, and the first error is the one to report
        return None
    places = [Path(place) for place in location.split(os.pathsep) if place]
    folders = [_get_fixed_part(place) for place in places]
    if isinstance(error, BadAudioError):
        folders += [(place.parent / clip).parent for place in places for clip, _ in error.clips]
    lost = next((folder for folder in folders if not folder.exists()), None)
    return None if lost is None else f"{lost}: {REMEDY}"


def _get_fixed_part(pattern: Path) -> Path:
    """Returns a path up to its first component with a wildcard."""
    parts = pattern.parts
    wild = next((i for i, part in enumerate(parts) if set("*?[") & set(part)), len(parts))
    return Path(*parts[:wild])
