"""Runs `ablate zoo`: a worker draws and measures the maskers of a package."""

from collections.abc import Sequence
from pathlib import Path

from ablate.core.records.messages import ZooRequest
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.runs import store
from ablate.study.worker_query import Query, list_maskers, parse_grid, query_worker

STRIPS = 4  # strips per column of square patches: 64x4 instead of 16x16 mel values


def show_zoo(
    package: str,
    *,
    grid: str,
    audio: Path | None = None,
    out: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Prints the table of a package's maskers, and writes their gallery.

    Args:
        package: A package that lists maskers in `__all__`.
        grid: Patches in frequency x patches in time, such as `8x64`.
        audio: An audio file to show the masks on; None uses a synthetic clip.
        out: Folder of the gallery; None writes it to the reports folder.
        command: Starts the worker.

    Returns:
        The exit code.
    """
    console = create_console()
    folder = out or store.get_folders().reports / "zoo" / package

    def run(query: Query) -> None:
        # imports pandas, so only after the arguments are checked
        from ablate.report.pages.masker_zoo import MaskerZooPage

        grids = _get_grids(*parse_grid(grid))
        request = ZooRequest(
            folder=folder.absolute(),
            grids=tuple(grids),
            audio=audio,
            maskers=tuple(list_maskers(package, query)),
        )
        zoo = MaskerZooPage(package, folder, query(request).to_json())
        page, table = zoo.write(), zoo.tables[0]
        console.print(table.to_rich(console.width))
        for line in (*zoo.list_problems(table), table.caption, "", str(page)):
            print_line(console, line)

    return query_worker(run, title=f"drawing {package}", console=console, command=command)


def _get_grids(freq: int, time: int) -> list[tuple[int, int]]:
    """Returns the requested grid, and a grid of full-height strips of the same clip."""
    return [(freq, time)] if freq == 1 else [(freq, time), (1, STRIPS * time)]
