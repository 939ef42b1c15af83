"""What the labels of a list of clips must be like for probes to be trained and tested on them."""

from collections import defaultdict
from collections.abc import Iterable

from ablate.audio.sources import ClipInfo, several


def check_labels(clips: Iterable[ClipInfo]) -> None:
    """Refuses labels that cannot be probed, and clips that stand in two splits, naming each."""
    tasks: defaultdict[str, list[ClipInfo]] = defaultdict(list)
    for clip in clips:
        tasks[clip.task].append(clip)
    if not tasks:
        raise ValueError("there is no clip to use; list some in the manifest, a line each")
    problems = [problem for task, members in tasks.items() for problem in _untold(task, members)]
    problems += _strays(clip for members in tasks.values() for clip in members)
    if problems:
        raise ValueError(several(problems))


def _untold(task: str, clips: list[ClipInfo]) -> list[str]:
    folds = {clip.fold for clip in clips}
    if "" in folds and len(folds) > 1:
        return [f"task `{task}` has a `split` for some clips and a `fold` for others; use one"]
    problems = []
    if not folds - {""} and all(clip.split != "test" for clip in clips):
        problems.append(f"task `{task}` has no clip with split `test` to be scored on; give some")
    labels: defaultdict[str, list[ClipInfo]] = defaultdict(list)
    for clip in clips:
        labels[clip.label].append(clip)
    if len(labels) == 1:
        problems.append(
            f"task `{task}` has one label only (`{clips[0].label}`) and nothing to tell it from; "
            "add clips of another label or leave the task out"
        )
    for label, members in sorted(labels.items()):
        name, way_out = f"label `{label}` of task `{task}`", "add clips or leave the label out"
        if len(members) == 1:
            problems.append(f"{name} has one clip only (`{members[0].path}`); {way_out}")
        elif members[0].fold and len({clip.fold for clip in members}) == 1:
            problems.append(f"{name} has clips in fold `{members[0].fold}` only; {way_out}")
        elif not members[0].fold and all(clip.split != "train" for clip in members):
            problems.append(f"{name} has no clip with split `train`; {way_out}")
    return problems


def _strays(clips: Iterable[ClipInfo]) -> list[str]:
    """Names the clips whose split differs by task: a tested one would have been trained on."""
    first: dict[str, ClipInfo] = {}
    return [
        f"`{clip.path}` has {_part(seen)} in task `{seen.task}` but {_part(clip)} in task "
        f"`{clip.task}`; give it the same split in both, or leave it out of one"
        for clip in clips
        for seen in [first.setdefault(clip.path, clip)]
        if _part(seen) != _part(clip)
    ]


def _part(clip: ClipInfo) -> str:
    return "a fold" if clip.fold else f"split `{clip.split}`"
