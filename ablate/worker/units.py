"""Converts sizes in seconds, or `all`, to numbers of frames and bands.

A study may use `seconds` and `stride_seconds` instead of a patchifier's `time` and `time_stride`,
`freq: all` for all bands of the front end, `time: all` for the crop, and `crop_seconds` instead of
`crop_frames`, which is then rounded down to whole patches. The conversion comes before a trial is
built or hashed: 0.16 s at a hop of 10 ms is the same trial as 16 frames.
"""

from collections.abc import Mapping
from typing import Any

from ablate.audio.front_end import AbstractFrontEnd
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import PartError, Problem, build

IN_SECONDS = {"seconds": "time", "stride_seconds": "time_stride"}
TOLERANCE = 0.01  # hops by which a time in seconds may differ from a whole number of hops


def convert_sizes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a trial with all sizes in frames and bands.

    Raises `PartError` for a size that is impossible, or that is set twice.
    """
    converted, patchifier = dict(settings), settings.get("patchifier")
    if not isinstance(patchifier, Mapping):
        return converted
    unbounded = [name for name in ("freq", "time") if patchifier.get(name) == "all"]
    if not (IN_SECONDS.keys() & patchifier.keys() or unbounded or "crop_seconds" in settings):
        return converted
    mel = build(settings.get("mel"), expect=AbstractFrontEnd, path=("mel",))  # type: ignore[arg-type]
    sizes = dict(patchifier)
    for key, name in IN_SECONDS.items():
        if key in sizes:
            _check_not_both(("patchifier",), key, name, sizes)
            sizes[name] = _to_frames(("patchifier", key), sizes.pop(key), mel)
    if sizes.get("freq") == "all":
        sizes["freq"] = mel.bands
    if "crop_seconds" in converted:
        _check_not_both((), "crop_seconds", "crop_frames", converted)
        converted["crop_frames"] = _to_crop_frames(converted.pop("crop_seconds"), mel, sizes)
    if sizes.get("time") == "all" and "crop_frames" in converted:
        sizes["time"] = converted["crop_frames"]
    return {**converted, "patchifier": sizes}


def _to_frames(path: tuple[str, ...], seconds: Any, mel: AbstractFrontEnd) -> int:
    hops = _check_positive(path, seconds) / mel.hop_seconds
    if abs(hops - round(hops)) > TOLERANCE or round(hops) < 1:
        below = max(1, int(hops))
        near = " or ".join(f"{n * mel.hop_seconds:.6g} s" for n in (below, below + 1))
        raise _create_error(
            path,
            f"{seconds} s is not a multiple of the {1000 * mel.hop_seconds:.6g} ms hop of `mel`; "
            f"use {near}",
        )
    return round(hops)


def _to_crop_frames(seconds: Any, mel: AbstractFrontEnd, sizes: Mapping[str, Any]) -> int:
    frames = round(_check_positive(("crop_seconds",), seconds) / mel.hop_seconds)
    if sizes.get("time") == "all":
        return frames
    patchifier = build(sizes, expect=AbstractPatchifier, path=("patchifier",))
    time, stride = patchifier.size[1], patchifier.stride[1]
    if frames < time:
        shortest = time * mel.hop_seconds
        raise _create_error(
            ("crop_seconds",),
            f"{seconds} s are {frames} frames, fewer than the {time} of a patch; use at least "
            f"{shortest:.6g} s, or narrower patches",
        )
    return time + (frames - time) // stride * stride


def _check_positive(path: tuple[str, ...], seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise _create_error(path, f"expected a number of seconds above 0; got {seconds!r}")
    return float(seconds)


def _check_not_both(
    path: tuple[str, ...], key: str, name: str, settings: Mapping[str, Any]
) -> None:
    if name in settings:
        raise _create_error((*path, key), f"replaces `{name}`, which is also set; keep one of them")


def _create_error(path: tuple[str, ...], message: str) -> PartError:
    return PartError([Problem(path, message)])
