"""Questions to a worker that are no runs: what a package's maskers are, look like, and cost."""

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
from ablate.study.exit_codes import DONE, ended

Ask = Callable[[Mapping[str, Any]], Event]


def errand(
    act: Callable[[Ask], None], *, title: str, console: Console, command: Sequence[str] = COMMAND
) -> int:
    """Acts with a worker to ask; returns the exit code, as `ended` does.

    An answer that is an error ends the act with what is wrong.
    """

    def with_a_worker() -> int:
        begun = False
        with Pool(store.get_folders().cache, size=1, command=command) as pool:

            def ask(request: Mapping[str, Any]) -> Event:
                nonlocal begun
                with progress_bar(console, title, goes_on=begun) as heard:
                    begun = True
                    answer = pool.ask(request, heard)
                if answer["event"] == "error":
                    raise StudyError([problem["message"] for problem in answer["problems"]])
                return answer

            act(ask)
        return DONE

    return ended(with_a_worker)


def maskers_of(package: str, ask: Ask) -> list[dict[str, Any]]:
    """Lists a package's maskers: name, settings and what they are about.

    One that needs no settings is listed with its defaults, and each with the settings of every
    example in its documentation. One that needs settings and documents none is listed bare, to be
    refused with the reason.
    """
    found = []
    for masker in ask({"do": "catalogue", "package": package})["maskers"]:
        bare = {"about": masker["about"], "settings": {"type": masker["type"]}}
        source = f"the example of `{masker['name']}`"
        examples = [loader.parse_settings(f"{{{text}}}", source) for text in masker["examples"]]
        if not masker["needs"] or not examples:
            found.append({**bare, "name": masker["name"]})
        for settings in examples:
            plain = len(examples) == 1 and bool(masker["needs"])
            name = masker["name"] + ("" if plain else f" ({_brief(settings)})")
            found.append({**bare, "name": name, "settings": {**bare["settings"], **settings}})
    return found


def grid_of(text: str) -> tuple[int, int]:
    """Reads `8x64`: patches in frequency by patches in time. Raises `StudyError`."""
    sizes = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if sizes is None or text == "1x1":
        rule = "a grid is patches in frequency x patches in time, two at least, such as 8x64"
        raise StudyError([f"{rule}; got `{text}`"])
    return int(sizes[1]), int(sizes[2])


def _brief(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
