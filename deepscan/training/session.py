"""A training from pictures to a model folder: checks, crops, training and publishing, in this order."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deepscan.backbones.weights import locate
from deepscan.cards import CARD, ModelCard
from deepscan.data.crops.crop_cache import CropSet, cache_key, prepare_crops
from deepscan.data.pictures import LABEL_OF, PAIRS, LabelledPicture, read_pairs_only, read_pictures
from deepscan.detectors import DETECTORS
from deepscan.errors import UsageError
from deepscan.files import make_folder
from deepscan.progress import OnProgress
from deepscan.training import run_files
from deepscan.training.autoencoders import Autoencoder, autoencoders
from deepscan.training.batches import reals
from deepscan.training.loop import OnStep, train
from deepscan.training.machines import require_same_settings, require_shared_folders
from deepscan.training.processes import Processes
from deepscan.training.publish import publish
from deepscan.training.recipe import Recipe
from deepscan.training.recipe_files import leaves_of
from deepscan.training.run_files import BEST, CURVES, LAST, LOG
from deepscan.version import __version__

#: Number of crops on which the error of autoencoders is measured.
_REDRAWN = 64


@dataclass(frozen=True, slots=True)
class Session:
    """Settings of a training session.

    Attributes:
        recipe: The recipe.
        data: Folder with the index of the pictures.
        cache: Folder for crops and features.
        folder: Model folder; checkpoints and logs go into its folder `run`.
        command: The command line, for the card.
        workers: Number of processes that cut crops.
        keep_features: Whether to cache the features of a frozen backbone on disk.
        resume: Whether to resume an interrupted run; without one, a new run starts.
        finish: Whether to only publish the best epoch of an interrupted run.
        overwrite: Whether to replace an existing run or model.

    Raises:
        UsageError: `overwrite` is combined with `resume` or `finish`.
    """

    recipe: Recipe
    data: Path
    cache: Path
    folder: Path
    command: str
    workers: int
    keep_features: bool
    resume: bool
    finish: bool
    overwrite: bool

    def __post_init__(self) -> None:
        if self.overwrite and (self.resume or self.finish):
            raise UsageError("--overwrite excludes --resume and --finish", "leave one of them out")

    @property
    def run(self) -> Path:
        """Folder of checkpoints and logs."""
        return self.folder / "run"


def run_training(
    session: Session,
    processes: Processes,
    *,
    on_crops: OnProgress,
    on_autoencoders: OnProgress,
    on_features: OnProgress,
    on_step: OnStep,
) -> ModelCard | Path | None:
    """Train and publish a model.

    Args:
        session: The session's settings.
        processes: The processes of the training.
        on_crops: Progress callback: (crops cut, crops).
        on_autoencoders: Progress callback: (images trained on, images).
        on_features: Progress callback: (crops with features, crops).
        on_step: Called after every step.

    Returns:
        The model's card; the path of the weights after pretraining without labels, which publishes no model;
        None in processes other than the first.

    Raises:
        UsageError: The recipe, the data or the folders are invalid; raised before anything is written if
            possible.
        MissingError: Data, weights, a package or a device are missing.
        ContractError: A checkpoint or weights do not match the recipe.
    """
    recipe, started = session.recipe, time.time()
    pictures, key = _check(session, processes)
    resume = processes.from_first(session.resume and (session.run / LAST).exists())
    if session.overwrite and processes.first:
        _remove_run(session.run)
    # The first process fills the cache, then the others read it.
    for first in (True, False):
        with processes.together():
            if processes.first == first:
                crops = prepare_crops(
                    pictures,
                    recipe.crop,
                    session.cache,
                    workers=session.workers,
                    key=key,
                    on_progress=on_crops,
                )
                redrawers = _redrawers(session, crops, processes, on_autoencoders) if recipe.redraws else ()
    network, state = train(
        recipe,
        crops,
        session.run,
        processes=processes,
        resume=resume,
        finish=session.finish,
        cache=session.cache if session.keep_features else None,
        redrawers=redrawers,
        on_step=on_step,
        on_features=on_features,
    )
    if not processes.first:
        return None
    if recipe.labels == "none":
        return session.run / BEST
    best = max(state.history, key=lambda row: row[recipe.select])
    return publish(
        network,
        recipe,
        crops,
        session.folder,
        name=session.folder.resolve().name,
        data=", ".join(recipe.sources) or str(session.data),
        trained={
            **_trained(session, pictures, crops, redrawers),
            "date": time.strftime("%Y-%m-%d", time.gmtime(started)),
            "epochs": f"{int(best['epoch'])} of {len(state.history)} trained and {recipe.epochs} planned",
            "chosen_by": f"{recipe.select} {best[recipe.select]:.4f} on the first half of validation groups",
        },
    )


def _redrawers(
    session: Session, crops: CropSet, processes: Processes, on_progress: OnProgress
) -> tuple[Autoencoder, ...]:
    recipe, device = session.recipe, processes.device.type
    return autoencoders(
        crops,
        reals(crops, recipe),
        session.cache,
        seed=recipe.seed,
        half=recipe.half(device),
        device=device,
        on_progress=on_progress,
    )


def _check(session: Session, processes: Processes) -> tuple[tuple[LabelledPicture, ...], str]:
    """Check everything that can be checked before crops are cut; return the pictures and their cache key."""
    recipe = session.recipe
    settings = {
        "deepscan": __version__,
        "--no-cache": not session.keep_features,
        "--resume": session.resume,
        "--finish": session.finish,
        "--overwrite": session.overwrite,
        **dict(leaves_of(recipe.to_json())),
    }
    require_same_settings(processes, settings, "start the same command, of the same version, on all machines")
    with processes.together():
        if processes.first:
            _check_run(session)
        pictures = read_pictures(session.data, recipe.sources)
        trained = {picture.label for picture in pictures if picture.split == "train"}
        if recipe.labels == "given" and trained != set(LABEL_OF.values()):
            missing = next(name for name, label in LABEL_OF.items() if label not in trained)
            hint = "give training data of both classes"
            raise UsageError(f"there are no {missing} pictures to train on", hint)
        pictures += read_pairs_only(session.data, recipe.pairs_only)
        check_recipe(recipe)
        if recipe.weights != "random":
            locate(recipe.network["backbone"]["name"], recipe.weights)
        folders = {"--out": session.run, "--cache": session.cache}
        if processes.first:
            for option, folder in folders.items():
                make_folder(folder, option)
    require_shared_folders(processes, folders)
    with processes.together():
        key = cache_key(pictures, recipe.crop)
    require_same_settings(
        processes,
        {f"the hash of the pictures in {session.data}": key},
        "give all machines the same --data: crops written by prepare at the same path, with the same times",
    )
    return pictures, key


def _check_run(session: Session) -> None:
    last = session.run / LAST
    existing = [path for path in (last, session.folder / CARD) if path.exists()]
    if existing and not (session.resume or session.finish or session.overwrite):
        raise UsageError(
            f"{session.folder} already has a {'run' if last in existing else 'model'}",
            "continue with --resume, start over with --overwrite, or name another folder with --out",
        )
    if last.exists() and not session.overwrite:
        run_files.require_same_recipe(last, session.recipe.to_json())


def _remove_run(folder: Path) -> None:
    for name in (LAST, BEST, LOG):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CURVES, ignore_errors=True)


def check_recipe(recipe: Recipe) -> None:
    """Check quickly, without weights, that a recipe's network can be built and accepts its inputs.

    Raises:
        UsageError: A value is invalid, or the network needs other inputs or crops of another size.
    """
    side = recipe.crop.input_side
    arrays = recipe.make_preprocessor()(np.zeros((2, side, side, 3), np.uint8))
    with torch.device("meta"):
        network = DETECTORS.get(recipe.method)(**recipe.loss).build(recipe.network)
    if network.side != side:
        raise UsageError(
            f"the network needs crops of {network.side} px, but the recipe makes crops of {side} px",
            f"set crop.resize={network.side}",
        )
    if set(arrays) != set(network.inputs):
        raise UsageError(
            f"the network needs {', '.join(network.inputs)}, but the recipe's inputs are {', '.join(arrays)}",
            "use the inputs.kind of the method's default recipe",
        )
    network.train()(**{name: torch.from_numpy(array).to("meta") for name, array in arrays.items()})


def _trained(
    session: Session, pictures: tuple[LabelledPicture, ...], crops: CropSet, redrawers: Sequence[Autoencoder]
) -> dict[str, object]:
    recipe = session.recipe
    return {
        "data": ", ".join(sorted({picture.source or str(session.data) for picture in pictures})),
        "terms": recipe.terms,
        "crops": len(crops.where("train", recipe.frames["train"], recipe.sampling)),
        **({"crops_in_pairs_only": len(crops.where(PAIRS))} if recipe.pairs_only else {}),
        **({"autoencoders": _describe(redrawers, recipe, crops)} if redrawers else {}),
        "command": session.command,
        "seed": recipe.seed,
    }


def _describe(redrawers: Sequence[Autoencoder], recipe: Recipe, crops: CropSet) -> dict[str, object]:
    real = reals(crops, recipe)
    sample = crops.crops[real[np.linspace(0, len(real) - 1, min(_REDRAWN, len(real))).astype(int)]]
    return {
        "number": len(redrawers),
        "seed": recipe.seed,
        "trained_on": f"{len(real)} real training crops",
        "l1_of_255": [round(redraw.error(sample), 2) for redraw in redrawers],
    }
