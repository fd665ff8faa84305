"""Maps over a face's crop as smooth, see-through colours to lay over the face, and the words for them."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.errors import ContractError
from deepscan.faces.align import similarity
from deepscan.report.run_info import RunInfo

#: Maps of one output that are shown; a detector may have one for each of its queries.
MAX_MAPS = 4
#: Pixels to a side of what a map is drawn in; whatever shows it makes it larger without steps.
DRAWN = 56
#: Colours, RGB, of the greatest value above 0 and of the least below it, and how opaque those are, in [0, 1].
ABOVE, BELOW, OPAQUE = (214, 40, 20), (20, 92, 200), 0.7
#: Steps of the opacity: fewer make a smaller picture, and more cannot be seen.
STEPS = 24
#: Output of a model -> what its map shows, and what a place in red and one in blue have in common.
WORDS: dict[str, tuple[str, str, str]] = {
    "margins": ("what each place says", "speaks for fake", "speaks for real"),
    "attention": ("where the model looked", "looked at most", ""),
    "masks": ("which places a region was made of", "a part of it", ""),
    "projections": ("how far each place differs from its blend", "the region's way", "the other way"),
    "kept": ("which places a block worked on", "worked on", ""),
}


@dataclass(frozen=True, slots=True)
class FaceMap:
    """One map.

    Attributes:
        model: Whose it is.
        name: Of the model's output.
        caption: What it shows, in words.
        span: Its least and greatest value, in figures.
        png: The picture, in base64.
    """

    model: str
    name: str
    caption: str
    span: str
    png: str


@dataclass(frozen=True, slots=True)
class MapLegend:
    """What the colours of maps mean.

    Attributes:
        caption: What the maps show.
        above: What is red.
        below: What is blue, empty where nothing can be.
    """

    caption: str
    above: str
    below: str


@dataclass(frozen=True, slots=True)
class FaceMaps:
    """What the score of one face was taken from.

    Attributes:
        maps: The maps.
        numbers: What is no map, in words.
        landmarks: Eyes, nose and mouth corners in the crop, in parts of its side; empty where the run is not
            described.
    """

    maps: tuple[FaceMap, ...]
    numbers: tuple[str, ...]
    landmarks: tuple[tuple[float, float], ...]


def strongest_values(frames: Iterable[Mapping[str, Any]], run: RunInfo) -> dict[tuple[str, str], float]:
    """Return by model and output the largest value, whatever its sign, of the maps of some faces.

    Args:
        frames: Entries of a record, which are to have their colours in common.
        run: That they are of.
    """
    found: dict[tuple[str, str], float] = {}
    for frame in frames:
        for model, name, value in _outputs(frame, run):
            if isinstance(value, Mapping):
                most = max(abs(end) for end in value["range"])
                found[model, name] = max(found.get((model, name), 0.0), most)
    return found


def maps_of(
    frame: Mapping[str, Any], run: RunInfo, strongest: Mapping[tuple[str, str], float]
) -> FaceMaps | None:
    """Return what the score of a face was taken from, None where the record does not have it.

    Args:
        frame: A face's entry of a record.
        run: The run.
        strongest: The values of the strongest colours, as `strongest_values` gives them.
    """
    maps, numbers = [], []
    for model, name, value in _outputs(frame, run):
        whose = f"{model}: " if len(run.models) > 1 else ""
        if isinstance(value, Mapping):
            maps += list(_maps(model, name, whose, value, strongest[model, name]))
        else:
            numbers.append(f"{whose}{name} {'not finite' if value is None else f'{value:.4g}'}")
    if not maps and not numbers:
        return None
    return FaceMaps(tuple(maps), tuple(numbers), _landmarks(frame, run))


def legends_of(faces: Iterable[FaceMaps]) -> tuple[MapLegend, ...]:
    """Return what the colours of some faces' maps mean, once for each kind of map."""
    names = dict.fromkeys(each.name for face in faces for each in face.maps)
    return tuple(MapLegend(*_words(name)) for name in names)


def _words(name: str) -> tuple[str, str, str]:
    return WORDS.get(name, (name, "above 0", "below 0"))


def _outputs(frame: Mapping[str, Any], run: RunInfo) -> Iterator[tuple[str, str, Any]]:
    explanation = frame.get("explanation")
    if not explanation:
        return
    each = explanation if len(run.models) > 1 else {next(iter(run.models)): explanation}
    for model, outputs in each.items():
        yield from ((model, name, value) for name, value in outputs.items())


def _maps(model: str, name: str, whose: str, value: Mapping[str, Any], most: float) -> Iterator[FaceMap]:
    (low, high), grid, maps = value["range"], value["grid"], value["maps"]
    for at, steps in enumerate(maps[:MAX_MAPS]):
        which = f", {at + 1} of {len(maps)}" if len(maps) > 1 else ""
        values = low + np.array(steps, dtype=np.float32).reshape(grid, grid) / 255 * (high - low)
        caption = f"{whose}{_words(name)[0]}{which}"
        yield FaceMap(model, name, caption, f"{low:.3g} to {high:.3g}", _png(values, most))


def _png(values: NDArray[np.floating], most: float) -> str:
    """Return a map as a picture with an alpha channel: clear where it is 0, stronger away from it."""
    drawn = cv2.resize(values.astype(np.float32), (DRAWN, DRAWN), interpolation=cv2.INTER_CUBIC)
    # Cubic curves overshoot.
    smooth = np.clip(drawn, float(values.min()), float(values.max())) / (most or 1.0)
    alpha = np.rint(np.abs(smooth) * STEPS) / STEPS * OPAQUE * 255
    rgb = np.where(smooth[:, :, None] > 0, ABOVE, BELOW)
    bgra = np.concatenate([rgb[:, :, ::-1], np.rint(alpha)[:, :, None]], axis=2).astype(np.uint8)
    made, png = cv2.imencode(".png", bgra, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not made:
        raise ContractError("a map could not be drawn", "scan without --explain")
    return base64.b64encode(png.tobytes()).decode("ascii")


def _landmarks(frame: Mapping[str, Any], run: RunInfo) -> tuple[tuple[float, float], ...]:
    # The landmarks lie alike only in crops that are cut alike.
    recipes = {model.recipe for model in run.models.values()}
    recipe = recipes.pop() if len(recipes) == 1 else None
    if recipe is None:
        return ()
    points = np.array(frame["landmarks"], dtype=np.float32)
    matrix = similarity(points, recipe.template)
    placed = (points @ matrix[:, :2].T + matrix[:, 2] + 0.5) / recipe.side
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in placed)
