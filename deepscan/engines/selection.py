"""Which engine runs a model: by the files that its card has and the precisions that engines offer."""

from deepscan.cards import ModelCard
from deepscan.engines import ENGINES


def engine_for(card: ModelCard, engine: str = "auto", precision: str = "auto") -> str | None:
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
