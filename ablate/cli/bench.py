"""The bench's door: what a training step costs, `ablate bench`, and what masks do."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.cli.bench_steps import steps
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Ask, errand, grid_of, maskers_of

MOST = 4.0  # times the plain draw, for maskers that do not declare themselves slow
BLOCKS = "MultiBlock"  # whose twin the loop over samples is


def main() -> None:
    """Reads the command line of `ablate bench`."""
    parser = argparse.ArgumentParser(prog="ablate bench", description=__doc__)
    verbs = parser.add_subparsers(dest="what", required=True)
    verb = verbs.add_parser("steps", help="what a training step costs")
    verb.add_argument(
        "study", nargs="?", type=Path, help="a study whose variants to time; default: built-in ones"
    )
    verb.add_argument("--device", default="cpu", help="cpu or cuda")
    verb.add_argument("--batch", type=int, help="clips per step; default: the study's")
    verb.add_argument("--seconds", type=float, default=60.0, help="how long to measure: 60")
    verb.add_argument(
        "--json", type=Path, metavar="FILE", help="write the measurements to this file"
    )
    verb = verbs.add_parser("maskers", help="what drawing masks costs")
    verb.add_argument("package", nargs="?", default="maskers", help="default: maskers")
    verb.add_argument("--grid", default="8x64", help="patches in frequency x time: 8x64")
    verb.add_argument("--batch", type=int, default=256, help="clips: 256")
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else")
    asked = parser.parse_args(sys.argv[1:] or ["steps"])
    if asked.batch is not None and asked.batch < 1:
        parser.error(f"--batch must be at least 1; got {asked.batch}")
    if asked.what == "maskers":
        sys.exit(maskers(asked.package, grid=asked.grid, batch=asked.batch, as_json=asked.json))
    measured = {"seconds": asked.seconds, "into": asked.json}
    sys.exit(steps(asked.study, device=asked.device, batch=asked.batch, **measured))


def maskers(
    package: str,
    *,
    grid: str = "8x64",
    batch: int = 256,
    as_json: bool = False,
    command: Sequence[str] = COMMAND,
) -> int:
    """Times a package's maskers beside one plain draw each; returns the exit code.

    `grid` is patches in frequency by time, `batch` the clips of a draw. `as_json` prints JSON only.
    """
    console = Console(stderr=True) if as_json else create_console()

    def act(ask: Ask) -> None:
        sizes, listed = list(grid_of(grid)), maskers_of(package, ask)
        found = ask({"do": "time maskers", "maskers": listed, "grid": sizes, "batch": batch})
        if as_json:
            sys.stdout.write(json.dumps(summary(found), indent=1) + "\n")
            return
        console.print(_table(found))
        for line in conclusions(found):
            print_line(console, line)

    return errand(act, title=f"timing {package}", console=console, command=command)


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to what was measured who is over the limit, and what vectorising gains, as a factor."""
    over = [masker["name"] for masker in found["maskers"] if _is_over(masker)]
    blocks = [m["ratio"] for m in found["maskers"] if m["name"] == BLOCKS and "ratio" in m]
    gain = found["loop"]["ratio"] / blocks[0] if blocks else None
    kept = {key: found[key] for key in ("grid", "batch", "maskers", "loop")}
    return {**kept, "limit": MOST, "over": over, "blocks_faster_than_loop": gain}


def conclusions(found: Mapping[str, Any]) -> list[str]:
    """Says in a few lines what the measurements come to."""
    told = summary(found)
    lines = [
        f"ratio: time relative to one uniform rand and topk, measured in alternation, for "
        f"{found['batch']} clips on {found['grid']} patches, one thread; medians"
    ]
    if told["over"]:
        names = ", ".join(told["over"])
        lines.append(f"over {MOST:g} times the plain draw without being declared slow: {names}")
    if told["blocks_faster_than_loop"] is not None:
        lines.append(
            f"a loop over samples takes {found['loop']['milliseconds']:.1f} ms for equal blocks; "
            f"{BLOCKS} is {told['blocks_faster_than_loop']:.0f} times as fast"
        )
    return lines


def _is_over(masker: Mapping[str, Any]) -> bool:
    return masker.get("ratio", 0.0) > MOST and not masker["slow"]


def _table(found: Mapping[str, Any]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for head in ("masker", "ratio", "ms", ""):
        table.add_column(head, justify="right" if head in ("ratio", "ms") else "left")
    for masker in sorted(found["maskers"], key=lambda masker: masker.get("ratio", 0.0)):
        if masker["refused"]:
            cells = ["-", "-", f"refused: {masker['refused']}"]
        else:
            note = f"over {MOST:g}" if _is_over(masker) else ""
            note = f"slow: {masker['slow']}" if masker["slow"] else note
            cells = [f"{masker['ratio']:.2f}", f"{masker['milliseconds']:.2f}", note]
        table.add_row(*map(Text, (masker["name"], *cells)))
    return table


if __name__ == "__main__":
    main()
