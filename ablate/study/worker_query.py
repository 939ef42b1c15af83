"""Queries a worker about a package's parts, without a study or a run."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.records.benchmarks import NamedMasker
from ablate.core.records.messages import MaskersRequest
from ablate.core.records.protocol import ReplyT, Request
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar
from ablate.executors.worker import COMMAND, InvalidRequestError
from ablate.runs import store
from ablate.study.exit_codes import DONE, run_with_exit_code


class Query(Protocol):
    """Sends a request to a worker and returns its reply."""

    def __call__(self, request: Request[ReplyT]) -> ReplyT:
        """Raises `StudyError` if the worker refuses the request."""
        ...


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

            def query(request: Request[ReplyT]) -> ReplyT:
                nonlocal begun
                with progress_bar(console, title, continued=begun) as on_progress:
                    begun = True
                    try:
                        return pool.request(request, on_progress)
                    except InvalidRequestError as error:
                        raise StudyError([p.message for p in error.problems]) from error

            fn(query)
        return DONE

    return run_with_exit_code(run)


def list_maskers(package: str, query: Query) -> list[NamedMasker]:
    """Lists a package's maskers: `name`, `settings` and `about`.

    A masker without required settings is listed with its defaults. Each example in a masker's
    documentation is listed with its settings. A masker that has required settings and no example is
    listed without settings, so that building it gives the reason.
    """
    maskers = []
    for entry in query(MaskersRequest(package=package)).maskers:
        bare = NamedMasker(name=entry.name, about=entry.about, settings={"type": entry.type})
        source = f"the example of `{entry.name}`"
        examples = [loader.parse_settings(f"{{{text}}}", source) for text in entry.examples]
        if not entry.needs or not examples:
            maskers.append(bare)
        for settings in examples:
            is_only = len(examples) == 1 and bool(entry.needs)
            name = entry.name + ("" if is_only else f" ({_format_settings(settings)})")
            maskers.append(replace(bare, name=name, settings={**bare.settings, **settings}))
    return maskers


def parse_grid(text: str) -> tuple[int, int]:
    """Parses `8x64`: patches in frequency by patches in time. Raises `StudyError`."""
    sizes = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if sizes is None or text == "1x1":
        rule = "a grid is patches in frequency x patches in time, two at least, such as 8x64"
        raise StudyError([f"{rule}; got `{text}`"])
    return int(sizes[1]), int(sizes[2])


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
