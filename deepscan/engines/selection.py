"""Choose the engine and precision of a model from its files and the measured effect of rounding."""

from deepscan.cards import ModelCard, Rounding
from deepscan.engines import ENGINES


def select_engine(card: ModelCard, engine: str = "auto", precision: str = "auto") -> str | None:
    """Return the engine for a model, or None if the model has no file for it.

    Nothing is loaded, and the engine's package and device are not checked.

    Args:
        card: The model.
        engine: `auto` for the first automatic one, or the name of an engine.
        precision: `auto`, which needs a float32 file, or the name of a precision.

    Raises:
        UsageError: The engine is unknown.
    """
    for name in ENGINES.names if engine == "auto" else (engine,):
        candidate = ENGINES.get(name)
        kind = candidate.files.get("fp32" if precision == "auto" else precision)
        if kind in card.files and (candidate.automatic or name == engine):
            return name
    return None


#: Conditions for a reduced precision, in `auto` and at export: compared with float32 on at least SAMPLES
#: crops, a scan's scores move by at most MEAN on average and LARGEST for one crop (less than from one verdict
#: across the inconclusive range to the other), and at most LOST of the AUC is lost if labels are known.
SAMPLES, MEAN, LARGEST, LOST = 64, 0.01, 0.2, 0.005


#: Engine -> its reduced precisions that are faster on a CPU.
REDUCED = {"onnx": ("int8",)}


def select_precision(card: ModelCard, engine: str, device: str) -> tuple[str, str]:
    """Return the precision that `auto` uses, and why.

    On a CPU it is a faster one that is close enough to float32 by the card; on a GPU it is float32.

    Args:
        card: The model.
        engine: Name of the engine.
        device: `cpu` or `cuda`.
    """
    if device != "cpu":
        return "fp32", "reduced precisions were only measured on CPUs"
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
            return precision, f"compared with float32, {describe_rounding(card.rounding[kind])}"
    return "fp32", "; ".join(reasons) or f"the {engine} engine has no faster precision on a CPU"


def too_coarse(rounding: Rounding) -> str:
    """Return the condition that a reduced precision fails; empty if it passes."""
    if rounding.samples < SAMPLES:
        return f"only {rounding.samples} crops were compared, at least {SAMPLES} are needed"
    if rounding.mean > MEAN or rounding.largest > LARGEST:
        return f"{describe_rounding(rounding)}; at most {MEAN} and {LARGEST} are allowed"
    if rounding.auc_lost is not None and rounding.auc_lost > LOST:
        return f"{rounding.auc_lost:.4f} of the AUC is lost; at most {LOST} is allowed"
    return ""


def describe_rounding(rounding: Rounding) -> str:
    """Return a sentence part on how far scores move."""
    return f"scores move by {rounding.mean:.4f} on average and {rounding.largest:.3f} at most"
