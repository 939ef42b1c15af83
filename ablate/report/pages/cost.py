"""Builds the table of what the runs of each variant cost, and on which device."""

from collections.abc import Iterable, Sequence

from ablate.report.pages.table import Column, Row, Table, amount_cell, number_cell, text_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells, compute_mean
from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult

DETAILS = ("clips", "context_tokens", "target_tokens", "predictor_parameters")
COSTS = ("steps", "clips", "audio_hours", "context_tokens", "target_tokens", "flops", "seconds")


def build_cost_table(results: Results) -> Table:
    """Builds the table of the mean cost of a run by variant: `COSTS`, memory, parameters, device.

    Hours of devices are those of all runs of a variant together.
    """
    heads = {name: name.replace("_", " ") for name in COSTS} | {"flops": "FLOPs"}
    heads |= {"tokens_per_second": "tokens/s", "peak_memory_mb": "peak MB"}
    heads |= {"encoder_parameters": "encoder", "predictor_parameters": "predictor"}
    rows = tuple(
        _build_row(build_variant_cells(results, levels), trials)
        for levels, trials in results.variants().items()
    )
    return Table(
        name="cost",
        title="Cost of a run",
        caption="Means over the runs of a variant. Encoder and predictor: numbers of parameters. "
        "Hours: of GPUs, or of CPU cores, summed over the runs and their processes. "
        "k, M, G, T: thousands, millions, billions, trillions.",
        columns=(
            *build_factor_columns(results),
            *(
                Column(head=head, format=amount_cell(name), brief=name not in DETAILS)
                for name, head in heads.items()
            ),
            Column(head="device", format=text_cell("device"), text=True),
            Column(head="hours", format=number_cell("device_hours", 2)),
        ),
        rows=rows,
    )


def _build_row(name: Row, trials: Sequence[TrialResult]) -> Row:
    sizes = [trial.plan.facts.parameters for trial in trials]
    runs = {trial.fingerprint: trial.run for trial in trials}.values()  # each run once
    return {
        **name,
        **{cost: compute_mean(t.cost.get(cost) for t in trials) for cost in COSTS},
        "tokens_per_second": compute_mean(t.metrics.get("tokens_per_second") for t in trials),
        "peak_memory_mb": compute_mean(t.cost.get("peak_memory_mb") for t in trials),
        "encoder_parameters": compute_mean(size.encoder for size in sizes),
        "predictor_parameters": compute_mean(size.predictor for size in sizes),
        "device": " and ".join(dict.fromkeys(_list_devices(runs))),
        "device_hours": _sum_hours(runs),
    }


def _list_devices(runs: Iterable[RunResult]) -> Iterable[str]:
    """Yields the model of each run's GPU, else the kind of its device."""
    for run in runs:
        device = run.record.device_name or (run.record.device or "").partition(":")[0]
        if device and run.record.cost is not None:
            yield {"cpu": "CPU", "cuda": "GPU"}.get(device, device)


def _sum_hours(runs: Iterable[RunResult]) -> float | None:
    """Sums wall-clock hours times processes; a process trains on one GPU or CPU core."""
    costs = [(run.record.cost, run.record.ranks or 1) for run in runs]
    hours = [cost.seconds * ranks / 3600 for cost, ranks in costs if cost is not None]
    return sum(hours) if hours else None
