"""Sends single requests to a worker that is started for them, for commands that run no study."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.records.messages import MaskersRequest, NamedMasker
from ablate.core.records.protocol import ReplyT, Request
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar
from ablate.executors.worker import COMMAND, RequestRefusedError
from ablate.runs import store
from ablate.study.exit_codes import DONE, ended


class Ask(Protocol):
    """Sends a request to a worker and returns its reply."""

    def __call__(self, request: Request[ReplyT]) -> ReplyT:
        """Raises `StudyError` if the worker refuses the request."""
        ...


def errand(
    act: Callable[[Ask], None], *, title: str, console: Console, command: Sequence[str] = COMMAND
) -> int:
    """Acts with a worker to ask; returns the exit code, as `ended` does.

    An answer that is an error ends the act with what is wrong.
    """

    def with_a_worker() -> int:
        begun = False
        with Pool(store.get_folders().cache, size=1, command=command) as pool:

            def ask(request: Request[ReplyT]) -> ReplyT:
                nonlocal begun
                with progress_bar(console, title, continued=begun) as on_progress:
                    begun = True
                    try:
                        return pool.request(request, on_progress)
                    except RequestRefusedError as error:
                        raise StudyError([p.message for p in error.problems]) from error

            act(ask)
        return DONE

    return ended(with_a_worker)


def maskers_of(package: str, ask: Ask) -> list[NamedMasker]:
    """Lists a package's maskers: name, settings and what they are about.

    One that needs no settings is listed with its defaults, and each with the settings of every
    example in its documentation. One that needs settings and documents none is listed bare, to be
    refused with the reason.
    """
    maskers = []
    for entry in ask(MaskersRequest(package=package)).maskers:
        bare = NamedMasker(name=entry.name, about=entry.about, settings={"type": entry.type})
        source = f"the example of `{entry.name}`"
        examples = [loader.parse_settings(f"{{{text}}}", source) for text in entry.examples]
        if not entry.needs or not examples:
            maskers.append(bare)
        for settings in examples:
            is_only = len(examples) == 1 and bool(entry.needs)
            name = entry.name + ("" if is_only else f" ({_brief(settings)})")
            maskers.append(replace(bare, name=name, settings={**bare.settings, **settings}))
    return maskers


def grid_of(text: str) -> tuple[int, int]:
    """Reads `8x64`: patches in frequency by patches in time. Raises `StudyError`."""
    sizes = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if sizes is None or text == "1x1":
        rule = "a grid is patches in frequency x patches in time, two at least, such as 8x64"
        raise StudyError([f"{rule}; got `{text}`"])
    return int(sizes[1]), int(sizes[2])


def _brief(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
