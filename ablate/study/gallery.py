"""Has a worker draw the mask pictures of a study's report."""

from dataclasses import replace

from rich.console import Console

from ablate.config.tree import format_problem
from ablate.core.records.messages import GalleryRequest, GalleryTrial
from ablate.core.records.plan import GalleryFile, MaskGallery
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import print_line, progress_bar
from ablate.executors.worker import InvalidRequestError
from ablate.runs import store
from ablate.study.prepare import PreparedStudy


def draw_gallery(
    prepared: PreparedStudy, pool: Pool, folders: store.Folders, console: Console
) -> PreparedStudy:
    """Has a worker draw each masker on each patchifier, unless the pictures exist.

    Returns the study with its gallery in the plan; without one if it cannot be drawn.
    """
    folder = folders.reports / prepared.study.name / "gallery"
    trials: dict[tuple[str, str], design.PlannedTrial] = {}
    for trial in prepared.trials:
        masker = design.get_setting_label(trial.levels, "masker")
        patchifier = design.get_setting_label(trial.levels, "patchifier")
        trials.setdefault((masker, patchifier), trial)
    fingerprints = {"--".join(labels): trial.fingerprint for labels, trial in trials.items()}
    file = folder / "pictures.json"
    saved = GalleryFile.find(file)
    if saved is None or saved.trials != fingerprints:
        entries = tuple(
            GalleryTrial(masker=masker, patchifier=patchifier, settings=dict(trial.settings))
            for (masker, patchifier), trial in trials.items()
        )
        with progress_bar(console, "drawing masks") as on_progress:
            try:
                reply = pool.request(GalleryRequest(folder=folder, trials=entries), on_progress)
            except InvalidRequestError as error:
                for problem in error.problems:
                    complaint = format_problem(prepared.study.tree, problem)
                    print_line(console, f"no pictures: {complaint}")
                return prepared
        gallery = MaskGallery(folder=folder.name, title=reply.title, pictures=reply.pictures)
        saved = GalleryFile(trials=fingerprints, gallery=gallery)
        saved.write(file)
    return replace(prepared, plan=replace(prepared.plan, gallery=saved.gallery))
