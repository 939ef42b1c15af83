"""Assigns clips to splits or folds: file by file, or in groups such as speakers."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.audio.splits import parse_split

Row = dict[str, str]

DEFAULT_SHARES = (6.0, 2.0, 2.0)  # train, valid and test
SPLIT_BY_FILE_WARNING = (
    "clips were split file by file: if several come from one speaker or recording, a probe may "
    "recognise it in the test clips; `--group` keeps them together"
)


_BY_TEST = (
    ". The match must name the split in every path, as `train` and `test` do; `--test REGEX` "
    "matches only test clips"
)


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How clips are split that have no split of their own.

    Raises:
        ValueError: for shares that do not train and test, and fewer than two folds.
    """

    group: str | None = None  # a regular expression; clips with the same match stay together
    split_by: str | None = None  # a regular expression whose match names the split, or the group
    shares: tuple[float, float, float] = DEFAULT_SHARES  # train, valid and test
    test: str | None = None  # a regular expression; clips whose path it matches are for testing
    valid: str | None = None  # likewise, for choosing settings of probes; the others train
    folds: int | None = None  # folds instead of splits
    seed: int = 0

    def __post_init__(self) -> None:
        if self.group is not None and self.split_by is not None:
            raise ValueError("`group` and `split_by` exclude each other; leave one out")
        if self.test is None and self.valid is not None:
            raise ValueError("`valid` needs `test`, which matches the paths of test clips")
        others = (self.group, self.split_by, self.folds)
        if self.test is not None and any(option is not None for option in others):
            raise ValueError("`test` excludes `group`, `split_by` and `folds`; leave them out")
        if self.test is not None and (self.shares != DEFAULT_SHARES or self.seed):
            raise ValueError("`test` names the test clips; leave `shares` and `seed` out")
        for name in ("group", "split_by", "test", "valid"):
            if getattr(self, name) == "":
                raise ValueError(f"`{name}` is empty, which matches every path; leave it out")
        if min(self.shares) < 0 or not self.shares[0] or not self.shares[2]:
            shares = ":".join(f"{share:g}" for share in self.shares)
            raise ValueError(
                "`shares` are those of train, valid and test, and the first and last must be "
                f"above 0, for instance 8:1:1; got {shares}"
            )
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"`folds` must be 2 or more, got {self.folds}")


def parse_shares(text: str) -> tuple[float, float, float]:
    """Parses the shares of train, valid and test, such as `8:1:1`. Raises `ValueError`."""
    try:
        train, valid, test = map(float, text.split(":"))
    except ValueError as error:
        raise ValueError(f"`shares` must be three numbers such as 8:1:1, got `{text}`") from error
    return train, valid, test


def assign_splits(rows: Sequence[Row], options: SplitOptions) -> str:
    """Fills in the column `split` of rows, or replaces it by `fold`; also adds `group` if grouped.

    The result depends on nothing but the paths, the labels and the options.

    Returns:
        A warning; empty if there is none.

    Raises:
        ValueError: for a regular expression that does not match some path, or does not separate
            the clips.
    """
    if options.test is not None:
        _split_by_path(rows, options)
        return ""
    pattern = options.group if options.split_by is None else options.split_by
    name = "group" if options.split_by is None else "split_by"
    matches = None if pattern is None else _match(rows, pattern, name)
    if options.split_by is not None and matches is not None and _are_splits(matches.values()):
        for row in rows:
            row["split"] = parse_split(matches[row["path"]])
        return ""
    if matches is None and any(row.get("group") for row in rows):
        matches = {row["path"]: row["group"] for row in rows}
    if options.folds is not None:
        chosen = _assign_folds(rows, matches, options)
        for row in rows:
            del row["split"]
            row["fold"] = chosen[row["path"]]
    else:
        chosen = (
            _split_files(rows, options)
            if matches is None
            else _fill(rows, matches, _name_shares(options.shares), options.seed)
        )
        for row in rows:
            row["split"] = chosen[row["path"]]
    if matches is None:
        return SPLIT_BY_FILE_WARNING
    for row in rows:
        row["group"] = matches[row["path"]]
    return ""


def match_in_path(path: str, expression: re.Pattern[str]) -> str:
    """Returns the first group of a match in a path, or all of it if there is none."""
    match = expression.search(path)
    return (match[1 if expression.groups else 0] or "") if match else ""


def compile_option(name: str, pattern: str) -> re.Pattern[str]:
    """Compiles a regular expression. Raises `ValueError` with the name of the option."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`{name}` {pattern!r} is not a regular expression: {error}") from error


def _match(rows: Iterable[Row], pattern: str, name: str) -> dict[str, str]:
    expression = compile_option(name, pattern)
    matches = {row["path"]: match_in_path(row["path"], expression) for row in rows}
    unmatched = [path for path, match in matches.items() if not match]
    if unmatched:
        more = f" ({len(unmatched)} such paths)" if len(unmatched) > 1 else ""
        raise ValueError(
            f"`{name}` {pattern!r} matches nothing in `{unmatched[0]}`; widen it{more}"
            + _BY_TEST * (name == "split_by")
        )
    if len(set(matches.values())) == 1:
        raise ValueError(
            f"`{name}` {pattern!r} matches `{next(iter(matches.values()))}` in every path, so no "
            "clip would be left to test on; use a narrower one"
        )
    return matches


def _split_by_path(rows: Sequence[Row], options: SplitOptions) -> None:
    """Splits clips by expressions for the paths of test and validation clips."""
    patterns = {"test": options.test, "valid": options.valid}
    expressions = {
        split: compile_option(split, pattern) for split, pattern in patterns.items() if pattern
    }
    for row in rows:
        matching = [name for name, regex in expressions.items() if regex.search(row["path"])]
        if len(matching) > 1:
            raise ValueError(f"`test` and `valid` both match `{row['path']}`; narrow one of them")
        row["split"] = matching[0] if matching else "train"
    counts = Counter(row["split"] for row in rows)
    for split in ("train", *expressions):
        if not counts[split]:
            lacking = f"`{split}` {patterns[split]!r} matches no path" if split in patterns else ""
            problem = lacking or "every path is matched by `test` or `valid`, and none is left"
            raise ValueError(f"{problem}; such as `{rows[0]['path']}`")


def _are_splits(words: Iterable[str]) -> bool:
    return all(parse_split(word) for word in set(words))


def _name_shares(shares: tuple[float, float, float]) -> dict[str, float]:
    train, valid, test = (share / sum(shares) for share in shares)
    return {"train": train, "test": test, "valid": valid}  # ties go to the first


def _split_files(rows: Iterable[Row], options: SplitOptions) -> dict[str, str]:
    """Splits each label's clips by their shares, in the order of their paths' hashes.

    Two clips are split into one for training and one for testing; three into one per split.
    """
    shares = _name_shares(options.shares)
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_label[row.get("label", "")].append(row["path"])
    splits: dict[str, str] = {}
    for paths in by_label.values():
        paths.sort(key=_create_order(options.seed))
        test, valid = (_count(shares[split], len(paths)) for split in ("test", "valid"))
        held_out = ["test"] * (test if len(paths) > 1 else 0)
        held_out += ["valid"] * (valid if len(paths) > 2 else 0)
        splits |= zip(paths, (held_out + ["train"] * len(paths))[: len(paths)], strict=True)
    return splits


def _count(share: float, number: int) -> int:
    return max(1, round(share * number)) if share else 0


def _assign_folds(
    rows: Sequence[Row], matches: Mapping[str, str] | None, options: SplitOptions
) -> dict[str, str]:
    """Returns the fold of each path, with equally many clips of each label as far as possible."""
    assert options.folds is not None
    names = [str(fold) for fold in range(1, options.folds + 1)]
    groups = matches or {row["path"]: row["path"] for row in rows}
    if (number := len(set(groups.values()))) < options.folds:
        raise ValueError(f"{number} groups cannot be in {options.folds} folds; lower `folds`")
    return _fill(rows, groups, dict.fromkeys(names, 1 / options.folds), options.seed)


def _fill(
    rows: Sequence[Row], group_of: Mapping[str, str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Assigns groups of clips to splits or folds, the largest group first.

    Each goes where the labels of the group are so far rarest, relative to the share.
    """
    shares = {split: share for split, share in shares.items() if share}
    total = Counter(row.get("label", "") for row in rows)
    filled: Counter[tuple[str, str]] = Counter()
    chosen: dict[str, str] = {}
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[group_of[row["path"]]].append(row)
    order = _create_order(seed)
    for name in sorted(groups, key=lambda name: (-len(groups[name]), order(name))):
        labels = [row.get("label", "") for row in groups[name]]
        filling = {
            split: sum(filled[split, label] / total[label] for label in labels) / share
            for split, share in shares.items()
        }
        best = min(filling, key=filling.__getitem__)
        filled.update((best, label) for label in labels)
        chosen |= {row["path"]: best for row in groups[name]}
    return chosen


def _create_order(seed: int) -> Callable[[str], bytes]:
    """Returns a key that sorts texts at random, the same way on every machine."""
    salt = seed.to_bytes(8, "big", signed=True) if seed else b""
    return lambda text: hashlib.blake2b(text.encode(), digest_size=8, salt=salt).digest()
