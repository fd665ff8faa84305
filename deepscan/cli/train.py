"""`deepscan train`: labelled face pictures in, a model folder with its card out."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.detectors import DETECTORS
from deepscan.errors import require


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Change values of the recipe: lr=0.0005 epochs=10 crop.scale=0.8",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        opt.MethodName | None,
        typer.Option(
            help=f"Detector to train: {', '.join(DETECTORS.names)}. The last five are baselines.",
            metavar="NAME",
            show_default="the recipe's, or qtfp",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe in YAML, or the name of one that comes with deepscan, such as convnet.",
            metavar="FILE|NAME",
            show_default="the method's own, from its paper",
        ),
    ] = None,
    data: Annotated[
        Path,
        opt.data_option(
            help="Folder of face pictures and faces.csv, with the columns file, label (real, fake), group, "
            "split (train, val) and, if known, source, video, mask, face, origin, pair, method and "
            "source_face_px. Or a folder from prepare: it uses FaceForensics++, or what sources=[NAME] "
            "names.",
            metavar="DIR",
        ),
    ] = Path("data"),
    cache: Annotated[
        Path,
        opt.data_option(
            help="Folder for aligned crops, features of a frozen backbone, and autoencoders that redraw "
            "faces; each is made once.",
            metavar="DIR",
        ),
    ] = Path("runs/crops"),
    no_cache: Annotated[
        bool,
        opt.data_option(
            "--no-cache", help="Keep no features of a frozen backbone on disk; compute them at each step."
        ),
    ] = False,
    workers: Annotated[int, opt.data_option(min=0, help="Processes that make crops.")] = 2,
    out: Annotated[
        Path | None,
        opt.run_option(
            help="Model folder to write. Checkpoints and logs go to its folder run.",
            metavar="DIR",
            show_default="runs/METHOD",
        ),
    ] = None,
    resume: Annotated[
        bool,
        opt.run_option("--resume", help="Resume an interrupted run; start one where there is none."),
    ] = False,
    finish: Annotated[
        bool,
        opt.run_option(
            "--finish", help="Stop training: make the model from the best epoch of an interrupted run."
        ),
    ] = False,
    overwrite: Annotated[
        bool, opt.run_option("--overwrite", help="Replace the run and the model in --out.")
    ] = False,
    seed: Annotated[int | None, opt.run_option(min=0, help="Same as seed=N.", show_default=False)] = None,
    device: Annotated[
        opt.DeviceName, opt.run_option(help="Where to train. auto uses a GPU if there is one.")
    ] = "auto",
    threads: Annotated[
        int | None,
        opt.run_option(
            min=1, help="CPU threads of torch. 1 is best beside other work.", show_default="all cores"
        ),
    ] = None,
    progress: opt.RunProgress = "auto",
) -> None:
    """Train a detector and write a model folder that scan can use.

    Half of the validation groups select the epoch and calibrate; the card's
    results come from the other half.

    deepscan train --method corit --data faces --out runs/mine

    deepscan train --recipe convnet --data faces epochs=10 --resume

    torchrun --nproc-per-node 4 -m deepscan train --method dfd-hr batch=64
    """
    require(("torch", "safetensors", "sklearn", "onnx", "onnxscript", "tensorboard"), "torch", "training")
    import torch

    from deepscan.cards import ModelCard
    from deepscan.cli.train_view import TrainView
    from deepscan.training.processes import join
    from deepscan.training.recipe import load_recipe
    from deepscan.training.session import Session, run_training

    if threads is not None:
        torch.set_num_threads(threads)
    seeded = [] if seed is None else [f"seed={seed}"]
    chosen = load_recipe(method, recipe, [*(overrides or ()), *seeded])
    session = Session(
        recipe=chosen,
        data=data,
        cache=cache,
        folder=out or Path("runs") / chosen.method,
        command=shlex.join(["deepscan", "train", *_given(sys.argv)]),
        workers=workers,
        keep_features=not no_cache,
        resume=resume,
        finish=finish,
        overwrite=overwrite,
    )
    with join(device) as processes, TrainView(progress if processes.first else "none") as view:
        made = run_training(
            session,
            processes,
            on_crops=view.crops,
            on_autoencoders=view.autoencoders,
            on_features=view.features,
            on_step=view.step,
        )
    if isinstance(made, ModelCard):
        auc = made.results[0]
        typer.echo(f"{made.folder}  auc {auc['value']} {auc['interval']} on {auc['n']} held-out crops")
    elif made is not None:
        typer.echo(f"{made}  train on it with weights={made}")


def _given(argv: list[str]) -> list[str]:
    given = argv[argv.index("train") + 1 :] if "train" in argv else []
    return [word for word in given if word not in ("--resume", "--finish", "--overwrite")]
