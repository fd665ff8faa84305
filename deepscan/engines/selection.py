"""Which engine and precision run a model: by its files, what engines offer, and what rounding does."""

from deepscan.cards import ModelCard, Rounding
from deepscan.engines import ENGINES


def select_engine(card: ModelCard, engine: str = "auto", precision: str = "auto") -> str | None:
    """Return the engine that would run a model as it is asked for, None where the model has no file for it.

    Nothing is loaded: whether the engine's package and its device are there is not asked.

    Args:
        card: The model.
        engine: `auto` for the first that may be taken unasked, or the name of one.
        precision: `auto`, for which a file in float32 must be there, or the name of one.

    Raises:
        UsageError: There is no such engine.
    """
    for name in ENGINES.names if engine == "auto" else (engine,):
        offered = ENGINES.get(name)
        wanted = offered.files.get("fp32" if precision == "auto" else precision)
        if wanted in card.files and (offered.automatic or name == engine):
            return name
    return None


#: The rule of `auto`, and of what an export keeps: against float32, on at least so many crops, scores as a
#: scan reports them move by at most this in the mean; no single one moves further than from one verdict over
#: the undecided part to the other; and where labels are known, no more of the AUC is lost.
SAMPLES, MEAN, LARGEST, LOST = 64, 0.01, 0.2, 0.005


#: Engine -> its precisions below float32 that are quicker on a CPU.
REDUCED = {"onnx": ("int8",)}


def select_precision(card: ModelCard, engine: str, device: str) -> tuple[str, str]:
    """Return the precision that `auto` stands for, and why.

    On a CPU that is a quicker one which the card shows to be near enough to float32; on a GPU it is float32.

    Args:
        card: The model.
        engine: Name of the engine.
        device: `cpu` or `cuda`.
    """
    if device != "cpu":
        return "fp32", "only a CPU's precisions were measured at export"
    reasons = []
    for precision in REDUCED.get(engine, ()):
        kind = f"{engine}-{precision}"
        if kind not in card.files:
            reasons.append(f"the model has no {precision} file")
        elif kind not in card.rounding:
            reasons.append(f"its card does not say how far {precision} moves its scores")
        elif objection := too_coarse(card.rounding[kind]):
            reasons.append(f"in {precision} {objection}")
        else:
            return precision, f"against float32 {describe_rounding(card.rounding[kind])}"
    return "fp32", "; ".join(reasons) or f"the {engine} engine has nothing quicker on a CPU"


def too_coarse(rounding: Rounding) -> str:
    """Return which part of the rule a reduced precision breaks, empty for none."""
    if rounding.samples < SAMPLES:
        return f"only {rounding.samples} crops were compared, {SAMPLES} are asked for"
    if rounding.mean > MEAN or rounding.largest > LARGEST:
        return f"{describe_rounding(rounding)}; allowed are {MEAN} and {LARGEST}"
    if rounding.auc_lost is not None and rounding.auc_lost > LOST:
        return f"{rounding.auc_lost:.4f} of the AUC is lost, allowed is {LOST}"
    return ""


def describe_rounding(rounding: Rounding) -> str:
    """Return in words how far scores move."""
    return f"scores move by {rounding.mean:.4f} in the mean, {rounding.largest:.3f} at most"
