"""Writes and shows the report of a study, or shows the present one if nothing has changed."""

from rich.console import Console

from ablate.core.fast_imports import paused_garbage_collection
from ablate.core.records.plan import StudyPlan
from ablate.core.records.report_state import STATE_FILE, ReportState
from ablate.executors.progress import print_line
from ablate.report import report_state
from ablate.report.terminal import print_verdicts
from ablate.runs import store
from ablate.study import interim_looks, replacement


def report_plan(
    plan: StudyPlan, lines: list[str], folders: store.Folders, console: Console, *, force: bool
) -> bool:
    """Shows the report of a plan, and further lines; the report is written if it is not current.

    Returns False if the present report was kept since it has more finished trials; with `force`
    it is replaced, too, and a current report is written again.
    """
    folder, is_written = folders.reports / plan.study, True
    state = None if force else report_state.find_current_state(plan, folders.runs, folder)
    if state is not None:
        _show_current_report(plan, state, folders, console)
    else:
        try:
            write_report(plan, folders, console, force=force)
        except replacement.ReportKeptError as error:
            lines, is_written = [*error.problems, *lines], False
    for line in lines:
        print_line(console, line)
    return is_written


def write_report(
    plan: StudyPlan, folders: store.Folders, console: Console, *, force: bool = False
) -> None:
    """Writes and shows the report of a plan; the look at the results is recorded first.

    Raises `ReportKeptError` if the present report has more finished trials, unless `force`.
    """
    with paused_garbage_collection():
        from ablate.report import report
        from ablate.report.pages import report_list

    if not force:
        replacement.check_results(plan, folders)
    interim_looks.record_look(plan, folders.runs)
    folder = folders.reports / plan.study
    (folder / STATE_FILE).unlink(missing_ok=True)  # until all files are written
    inputs = report_state.compute_inputs_digest(plan, folders.runs, folder)
    summary = report.write_report(plan, folders.runs, folder)
    report_list.write_report_list(folders.reports)
    if inputs == report_state.compute_inputs_digest(plan, folders.runs, folder):
        ReportState(
            inputs=inputs,
            files=report_state.list_report_files(folder),
            verdicts=summary.verdicts,
            caveats=summary.caveats,
        ).write(folder / STATE_FILE)
    summary.render(console)


def _show_current_report(
    plan: StudyPlan, state: ReportState, folders: store.Folders, console: Console
) -> None:
    """Shows the verdicts of a current report, and puts it in the list of all reports."""
    from ablate.report.pages import report_list

    interim_looks.record_look(plan, folders.runs)
    report_list.write_report_list(folders.reports)
    page = folders.reports / plan.study / report_list.PAGE
    print_verdicts(console, state.verdicts, state.caveats, page)
    again = f"`ablate report {plan.study}` draws it again"
    print_line(console, f"nothing has changed since this report was written; {again}")
