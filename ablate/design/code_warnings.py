"""Parts that are not ours, and whose code has changed since runs were made.

A plan warns of it before anything is run, and a report once it is; both in these words.
"""

from collections.abc import Iterable, Mapping


def warnings(digests: Iterable[Mapping[str, str]]) -> list[str]:
    """Warns, in a line, of the parts that have more than one digest among those of runs and plan.

    Each mapping holds, of the parts of one run or of one planned, a digest of its file by name.
    """
    seen: dict[str, set[str]] = {}
    for of in digests:
        for name, digest in of.items():
            seen.setdefault(name, set()).add(digest)
    names = [f"`{name}`" for name, found in seen.items() if len(found) > 1]
    if not names:
        return []
    return [
        f"The code of {', '.join(names)} has changed since some of the runs were made. If it does "
        "something else now, raise the class attribute `version`: its runs are then made again."
    ]
