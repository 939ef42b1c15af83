"""Sizes told in other words than frames and bands: in seconds, or as `all`.

A study may write `seconds` and `stride_seconds` for a patchifier's `time` and `time_stride`,
`freq: all` for the front end's bands, `time: all` for the crop, and `crop_seconds` for
`crop_frames`: the most whole patches that it holds. They become numbers before a trial is built
or hashed, so that 0.16 s at a hop of 10 ms is the trial of 16 frames, by that name, and at
another hop another one.
"""

from collections.abc import Mapping
from typing import Any

from ablate.audio.mel import AbstractFrontEnd
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import PartError, Problem, build

IN_SECONDS = {"seconds": "time", "stride_seconds": "time_stride"}
TOLERANCE = 0.01  # of a hop: how far a time in seconds may be from whole hops


def sized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a trial's settings with all sizes in frames and bands. Raises `PartError`."""
    found, patchifier = dict(settings), settings.get("patchifier")
    if not isinstance(patchifier, Mapping):
        return found
    in_other_words = [*IN_SECONDS.keys() & patchifier.keys(), *_unbounded(patchifier)]
    if not in_other_words and "crop_seconds" not in settings:
        return found
    mel = build(settings.get("mel"), expect=AbstractFrontEnd, path=("mel",))  # type: ignore[arg-type]
    cut = dict(patchifier)
    for word, name in IN_SECONDS.items():
        if word in cut:
            _refuse_both(("patchifier",), word, name, cut)
            cut[name] = _frames(("patchifier", word), cut.pop(word), mel)
    if cut.get("freq") == "all":
        cut["freq"] = mel.bands
    if "crop_seconds" in found:
        _refuse_both((), "crop_seconds", "crop_frames", found)
        found["crop_frames"] = _crop(found.pop("crop_seconds"), mel, cut)
    if cut.get("time") == "all" and "crop_frames" in found:
        cut["time"] = found["crop_frames"]
    return {**found, "patchifier": cut}


def _unbounded(patchifier: Mapping[str, Any]) -> list[str]:
    return [name for name in ("freq", "time") if patchifier.get(name) == "all"]


def _frames(path: tuple[str, ...], seconds: Any, mel: AbstractFrontEnd) -> int:
    hops = _positive(path, seconds) / mel.hop_seconds
    if abs(hops - round(hops)) > TOLERANCE or round(hops) < 1:
        below = max(1, int(hops))
        near = " and ".join(f"{n} are {n * mel.hop_seconds:.6g} s" for n in (below, below + 1))
        raise _problem(
            path,
            f"{seconds} s is not a multiple of the {1000 * mel.hop_seconds:.6g} ms hop of `mel`; "
            f"{near}",
        )
    return round(hops)


def _crop(seconds: Any, mel: AbstractFrontEnd, cut: Mapping[str, Any]) -> int:
    frames = round(_positive(("crop_seconds",), seconds) / mel.hop_seconds)
    if cut.get("time") == "all":
        return frames
    patchifier = build(cut, expect=AbstractPatchifier, path=("patchifier",))
    time, stride = patchifier.size[1], patchifier.stride[1]
    if frames < time:
        least = time * mel.hop_seconds
        raise _problem(
            ("crop_seconds",),
            f"{seconds} s are {frames} frames, less than a patch of {time}; give {least:.6g} s or "
            "more, or narrower patches",
        )
    return time + (frames - time) // stride * stride


def _positive(path: tuple[str, ...], seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise _problem(path, f"expected seconds, a number above 0; got {seconds!r}")
    return float(seconds)


def _refuse_both(path: tuple[str, ...], word: str, name: str, settings: Mapping[str, Any]) -> None:
    if name in settings:
        raise _problem((*path, word), f"stands for `{name}`, which is also given; keep one of them")


def _problem(path: tuple[str, ...], message: str) -> PartError:
    return PartError([Problem(path, message)])
