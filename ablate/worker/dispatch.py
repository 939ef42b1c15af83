"""What a worker may be asked, and which room answers it: of trials, and of a package's parts."""

from pathlib import Path
from typing import Any

import torch

from ablate.core.records.plan import PlanRequest, read_evaluate
from ablate.model.masking import Grid
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit


def answer(request: dict[str, Any], emit: Emit, stop: StopSignal) -> dict[str, Any]:
    """Does what a request's `do` asks for, and returns plain data; progress goes to `emit`.

    Raises `PartError` for settings that cannot be built, `ValueError` for an unknown request. Each
    brings its own modules: a plan waits for neither matplotlib nor TensorBoard.
    """
    cache = Path(request["cache"])
    match request["do"]:
        case "plan":
            from ablate.worker.validation import validate

            plan_request = PlanRequest.from_json(request["plan"], "a plan request")
            return {"plan": validate(plan_request, cache, emit).to_json()}
        case "run":
            from ablate.worker.context import RunContext
            from ablate.worker.multi_rank import needs_ranks, run_with_ranks
            from ablate.worker.run import run

            if needs_ranks(request):
                return run_with_ranks(request, emit, stop)
            device, until = torch.device(request["device"]), request.get("until")
            context = RunContext(device, cache, emit, stop, until=until)
            folder = Path(request["folder"])
            return run(folder, request["probes"], context, read_evaluate(request.get("evaluate")))
        case "gallery":
            from ablate.worker.mask_gallery import draw_gallery

            return draw_gallery(Path(request["folder"]), request["trials"], cache)
        case "board":
            from ablate.training.recorder import write_tensorboard

            write_tensorboard(Path(request["folder"]), request["curves"])
            return {}
        case _:
            return _answer_about_parts(request, emit)


def _answer_about_parts(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    match request["do"]:
        case "catalogue":
            from ablate.worker.masker_zoo import list_maskers

            return list_maskers(request["package"])
        case "schema":
            from ablate.worker.part_schema import build_schemas

            return build_schemas(request["packages"])
        case "zoo":
            from ablate.worker.masker_zoo import draw_zoo

            grids = [Grid(*sizes) for sizes in request["grids"]]
            folder = Path(request["folder"])
            return draw_zoo(folder, request["maskers"], grids, request["audio"], emit)
        case "time maskers":
            from ablate.worker.benchmarks.maskers import time_maskers

            grid = Grid(*request["grid"])
            return time_maskers(request["maskers"], grid, request["batch"], emit)
        case "time steps":
            from ablate.worker.benchmarks.steps import time_steps

            device = torch.device(request["device"])
            return time_steps(request["variants"], device, request["seconds"], emit)
        case unknown:
            raise ValueError(f"no request is called {unknown!r}")
