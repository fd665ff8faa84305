"""`deepscan train`: labelled face pictures in, a model folder with its card out."""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deepscan.errors import MissingError, UsageError, missing_extra

if TYPE_CHECKING:
    from deepscan.training.loop import Step

DATA, RUN = "Data", "Run"
#: Seconds between two lines of progress where there is no terminal.
INTERVAL = 10.0


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="Values of the recipe to change: lr=0.0005 epochs=10 crop.scale=0.8",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="What to train: qtfp, corit, dfd-hr, or a baseline: unifd, effort, lora, fft. "
            "[default: the recipe's, or qtfp]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe in YAML, or the name of one that comes with deepscan, such as qtfp-compact; "
            "without one, the method's own, which is its paper's.",
            metavar="FILE|NAME",
        ),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of face pictures and faces.csv: file, label (real, fake), group, split (train, val)",
            metavar="DIR",
            rich_help_panel=DATA,
        ),
    ] = Path("data"),
    cache: Annotated[
        Path,
        typer.Option(
            help="Folder for the aligned crops, and for a frozen backbone's features, made once.",
            metavar="DIR",
            rich_help_panel=DATA,
        ),
    ] = Path("runs/crops"),
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Train a frozen backbone live, without keeping its features on disk.",
            rich_help_panel=DATA,
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make the crops.", rich_help_panel=DATA)
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write; checkpoints and logs go into its folder run. [default: runs/METHOD]",
            metavar="DIR",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run was interrupted.", rich_help_panel=RUN)
    ] = False,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Train no further: make the model from an interrupted run's best epoch.",
            rich_help_panel=RUN,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Begin anew where there is a run already.", rich_help_panel=RUN),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The same as seed=N.", show_default=False, rich_help_panel=RUN),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda; auto takes CUDA where there is one.", rich_help_panel=RUN)
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of torch on a CPU; 1 is best beside other work. [default: all cores]",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    progress: Annotated[str, typer.Option(help="auto, plain or none.", rich_help_panel=RUN)] = "auto",
) -> None:
    """Train a detector and write a model folder that scan can use.

    Selection and calibration use half of the validation groups, the figures in the card come from the other.

    On several GPUs: torchrun --nproc-per-node 4 -m deepscan train ...; each takes its share of every batch.
    """
    if progress not in ("auto", "plain", "none"):
        raise UsageError(f"there is no progress {progress!r}", "choose from: auto, plain, none")
    _require_torch()
    import torch

    from deepscan.backbones.weights import fetch
    from deepscan.data.crops import prepare_crops
    from deepscan.data.dataset import read_pictures
    from deepscan.training.checkpoint import LAST
    from deepscan.training.loop import check
    from deepscan.training.loop import train as run_training
    from deepscan.training.processes import join
    from deepscan.training.publish import publish
    from deepscan.training.recipe import load_recipe

    if threads is not None:
        torch.set_num_threads(threads)
    seeded = [] if seed is None else [f"seed={seed}"]
    chosen = load_recipe(method, recipe, [*(overrides or ()), *seeded])
    folder = out or Path("runs") / chosen.method
    begun = time.time()
    if (folder / "run" / LAST).exists() and not (resume or finish or overwrite):
        raise UsageError(
            f"{folder / 'run'} holds a run already",
            "go on with --resume, begin anew with --overwrite, or name another folder with --out",
        )
    pictures = read_pictures(data, chosen.sources)
    # Before hours are spent on crops that nothing could be trained on.
    check(chosen)
    if chosen.weights not in ("hub", "random") and not Path(chosen.weights).is_file():
        raise MissingError(f"there is no weights file {chosen.weights}", "name one with weights=FILE")
    if chosen.weights == "hub":
        fetch(chosen.network["backbone"]["name"])
    with join(device) as processes:
        style = progress if processes.first else "none"
        # One process fills the cache, the others read it.
        for turn in (True, False):
            if processes.first == turn:
                told = Teller("crops", style).crops
                crops = prepare_crops(pictures, chosen.crop, cache, workers=workers, progress=told)
            processes.wait()
        network, state = run_training(
            chosen,
            crops,
            folder / "run",
            processes=processes,
            resume=resume,
            finish=finish,
            cache=None if no_cache else cache,
            listener=Teller("training", style).step,
            crops_listener=Teller("features", style).crops,
        )
        if not processes.first:
            return
    if chosen.labels == "none":
        typer.echo(
            f"{folder / 'run' / 'best.safetensors'}  train on it with weights={folder}/run/best.safetensors"
        )
        return
    best = max(state.history, key=lambda row: row[chosen.select])
    card = publish(
        network,
        chosen,
        crops,
        folder,
        name=folder.resolve().name,
        data=", ".join(chosen.sources) or str(data),
        trained={
            "data": ", ".join(sorted({picture.source or str(data) for picture in pictures})),
            "terms": chosen.terms,
            "crops": len(crops.where("train", chosen.frames["train"], chosen.sampling)),
            "command": shlex.join(["deepscan", "train", *_given(sys.argv)]),
            "seed": chosen.seed,
            "date": time.strftime("%Y-%m-%d", time.gmtime(begun)),
            "epochs": f"{int(best['epoch'])} of {len(state.history)} trained and {chosen.epochs} planned",
            "chosen_by": f"{chosen.select} {best[chosen.select]:.4f} on the first half of validation groups",
        },
    )
    auc = card.results[0]
    typer.echo(f"{folder}  auc {auc['value']} {auc['interval']} on {auc['n']} held-out crops")


def _given(argv: list[str]) -> list[str]:
    given = argv[argv.index("train") + 1 :] if "train" in argv else []
    return [word for word in given if word not in ("--resume", "--finish", "--overwrite")]


def _require_torch() -> None:
    for module in ("torch", "safetensors", "sklearn", "onnx", "onnxscript", "tqdm", "tensorboard"):
        try:
            __import__(module)
        except ImportError:
            raise missing_extra(module, "torch", "training")


class Teller:
    """Says how far a piece of work is: a bar at a terminal, else a line now and then; all of it on stderr.

    Args:
        what: The work.
        style: `auto`, `plain` or `none`.
    """

    def __init__(self, what: str, style: str) -> None:
        from tqdm import tqdm

        self._what, self._silent = what, style == "none"
        self._lines = style == "plain" or not sys.stderr.isatty()
        self._bar: tqdm[NoReturn] = tqdm(
            desc=what, file=sys.stderr, disable=self._silent or self._lines, leave=False
        )
        self._told = time.monotonic()

    def crops(self, done: int, total: int) -> None:
        """Tell that so many of the pictures have been cropped."""
        self._tell(done, total, "", done == total)

    def step(self, step: "Step") -> None:
        """Tell that a training step was made, or an epoch ended."""
        note = f"epoch {step.epoch}/{step.epochs} loss {step.loss:.4f} {step.rate:.0f} images/s"
        if step.row is not None:
            note += f" AUC {step.row['auc']:.4f}"
        note += f" {step.left / 60:.0f} min left"
        done, total = (step.epoch - 1) * step.steps + step.step, step.epochs * step.steps
        self._tell(done, total, note, step.row is not None)

    def _tell(self, done: int, total: int, note: str, milestone: bool) -> None:
        if self._silent:
            return
        if not self._lines:
            self._bar.total = total
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            if done == total and milestone:
                self._bar.close()
        elif milestone or time.monotonic() - self._told >= INTERVAL:
            self._told = time.monotonic()
            typer.echo(f"{self._what} {done}/{total} {note}".rstrip(), err=True)
