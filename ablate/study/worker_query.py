"""Queries a worker about a package's parts, without a study or a run."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar
from ablate.executors.worker import COMMAND
from ablate.runs import store
from ablate.runs.job import Event
from ablate.study.exit_codes import DONE, run_with_exit_code

Query = Callable[[Mapping[str, Any]], Event]  # sends a request and returns the answer


def query_worker(
    fn: Callable[[Query], None],
    *,
    title: str,
    console: Console,
    command: Sequence[str] = COMMAND,
) -> int:
    """Starts a worker, calls `fn` with a function that queries it, and returns the exit code.

    Args:
        fn: may query the worker any number of times. An error in an answer ends it.
        title: what the progress bar says.
        console: where the progress bar is drawn.
        command: the command that starts the worker.
    """

    def run() -> int:
        begun = False
        with Pool(store.get_folders().cache, size=1, command=command) as pool:

            def query(request: Mapping[str, Any]) -> Event:
                nonlocal begun
                with progress_bar(console, title, goes_on=begun) as on_event:
                    begun = True
                    answer = pool.ask(request, on_event)
                if answer["event"] == "error":
                    raise StudyError([problem["message"] for problem in answer["problems"]])
                return answer

            fn(query)
        return DONE

    return run_with_exit_code(run)


def list_maskers(package: str, query: Query) -> list[dict[str, Any]]:
    """Lists a package's maskers: `name`, `settings` and `about`.

    A masker without required settings is listed with its defaults. Each example in a masker's
    documentation is listed with its settings. A masker that has required settings and no example is
    listed without settings, so that building it gives the reason.
    """
    found = []
    for masker in query({"do": "catalogue", "package": package})["maskers"]:
        bare = {"about": masker["about"], "settings": {"type": masker["type"]}}
        source = f"the example of `{masker['name']}`"
        examples = [loader.parse_settings(f"{{{text}}}", source) for text in masker["examples"]]
        if not masker["needs"] or not examples:
            found.append({**bare, "name": masker["name"]})
        for settings in examples:
            plain = len(examples) == 1 and bool(masker["needs"])
            name = masker["name"] + ("" if plain else f" ({_format_settings(settings)})")
            found.append({**bare, "name": name, "settings": {**bare["settings"], **settings}})
    return found


def parse_grid(text: str) -> tuple[int, int]:
    """Parses `8x64`: patches in frequency by patches in time. Raises `StudyError`."""
    sizes = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if sizes is None or text == "1x1":
        rule = "a grid is patches in frequency x patches in time, two at least, such as 8x64"
        raise StudyError([f"{rule}; got `{text}`"])
    return int(sizes[1]), int(sizes[2])


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
