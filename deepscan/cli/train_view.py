"""What `train` shows on stderr."""

from typing import TYPE_CHECKING

from rich.console import Console

from deepscan.cli.progress import ProgressView, rate_of, time_left

if TYPE_CHECKING:
    from deepscan.training.loop import StepReport


class TrainView(ProgressView):
    """Shows the progress of a training; its methods are progress callbacks.

    Args:
        style: `auto`, `plain` or `none`.
        console: Where to show it; None for stderr.
    """

    def __init__(self, style: str, console: Console | None = None) -> None:
        super().__init__(style, console)
        self._auc = ""

    def crops(self, done: int, total: int) -> None:
        """Show how many pictures have been cropped."""
        self.count("crops", done, total, "images")

    def autoencoders(self, done: int, total: int) -> None:
        """Show how many images the autoencoders have been trained on."""
        self.count("autoencoders", done, total, "images")

    def features(self, done: int, total: int) -> None:
        """Show how many crops have stored backbone features."""
        self.count("features", done, total, "images")

    def step(self, step: "StepReport") -> None:
        """Show a training step, or the end of an epoch."""
        self._begin("training", step.step)
        ended = step.row is not None
        if step.row is not None:
            self._auc = f"AUC {step.row['auc']:.4f}"
        figures = [
            f"epoch {step.epoch}/{step.epochs}",
            f"loss {step.loss:.4f}",
            rate_of(step.rate, "images"),
            # In a log, the line at the end of each epoch has it.
            self._auc if ended or self._style == "bar" else "",
            time_left(step.left),
        ]
        done, total = (step.epoch - 1) * step.steps + step.step, step.epochs * step.steps
        validates = step.step == step.steps and not ended
        self._show(done, total, figures, milestone=ended, heading="validating" if validates else "")
