"""Draw a model's maps as transparent colours over the crop of a face, with their captions."""

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

#: Maximum number of maps shown per output: a detector may have one for each of its queries.
MAX_MAPS = 4
#: Side in pixels at which a map is drawn. The browser scales it up smoothly.
DRAWN = 56
#: RGB colours of the largest positive and the largest negative value, and their opacity in [0, 1].
ABOVE, BELOW, OPAQUE = (214, 40, 20), (20, 92, 200), 0.7
#: Number of opacity levels: fewer make a smaller picture, more are not visible.
STEPS = 24
#: Output of a model -> caption of its map, and the meaning of red and of blue places.
TEXTS: dict[str, tuple[str, str, str]] = {
    "margins": ("score by place", "points to fake", "points to real"),
    "attention": ("where the model looked", "looked at most", ""),
    "masks": ("places that form a region", "part of it", ""),
    "projections": ("difference of each place from its blend", "in the region's direction", "opposite"),
    "kept": ("places that a block processed", "processed", ""),
}


@dataclass(frozen=True, slots=True)
class FaceMap:
    """A map of a face.

    Attributes:
        model: Name of the model.
        name: Name of the model's output.
        caption: What it shows.
        span: Its smallest and largest value, as text.
        png: The picture in base64.
    """

    model: str
    name: str
    caption: str
    span: str
    png: str


@dataclass(frozen=True, slots=True)
class MapLegend:
    """The meaning of the colours of maps.

    Attributes:
        caption: What the maps show.
        above: The meaning of red.
        below: The meaning of blue, empty if there are no negative values.
    """

    caption: str
    above: str
    below: str


@dataclass(frozen=True, slots=True)
class FaceMaps:
    """What the score of one face is based on.

    Attributes:
        maps: The maps.
        numbers: Outputs that are not maps, as text.
        landmarks: Eyes, nose and mouth corners in the crop, as fractions of its side; empty if the recipe is
            not known.
    """

    maps: tuple[FaceMap, ...]
    numbers: tuple[str, ...]
    landmarks: tuple[tuple[float, float], ...]


def strongest_values(frames: Iterable[Mapping[str, Any]], run: RunInfo) -> dict[tuple[str, str], float]:
    """Return by model and output the largest absolute value in the maps of some faces.

    Args:
        frames: Faces' entries in a record, which share a colour scale.
        run: Their run.
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
    """Return what the score of a face is based on, None if the record does not have it.

    Args:
        frame: The face's entry in a record.
        run: The run.
        strongest: The values with the strongest colours, as returned by `strongest_values`.
    """
    maps, numbers = [], []
    for model, name, value in _outputs(frame, run):
        prefix = f"{model}: " if len(run.models) > 1 else ""
        if isinstance(value, Mapping):
            maps += list(_maps(model, name, prefix, value, strongest[model, name]))
        else:
            numbers.append(f"{prefix}{name} {'not finite' if value is None else f'{value:.4g}'}")
    if not maps and not numbers:
        return None
    return FaceMaps(tuple(maps), tuple(numbers), _landmarks(frame, run))


def legends_of(faces: Iterable[FaceMaps]) -> tuple[MapLegend, ...]:
    """Return the meaning of the colours of some faces' maps, once for each kind of map."""
    names = dict.fromkeys(face_map.name for face in faces for face_map in face.maps)
    return tuple(MapLegend(*_texts(name)) for name in names)


def _texts(name: str) -> tuple[str, str, str]:
    return TEXTS.get(name, (name, "above 0", "below 0"))


def _outputs(frame: Mapping[str, Any], run: RunInfo) -> Iterator[tuple[str, str, Any]]:
    explanation = frame.get("explanation")
    if not explanation:
        return
    by_model = explanation if len(run.models) > 1 else {next(iter(run.models)): explanation}
    for model, outputs in by_model.items():
        yield from ((model, name, value) for name, value in outputs.items())


def _maps(model: str, name: str, prefix: str, value: Mapping[str, Any], most: float) -> Iterator[FaceMap]:
    (low, high), grid, maps = value["range"], value["grid"], value["maps"]
    for index, steps in enumerate(maps[:MAX_MAPS]):
        position = f", {index + 1} of {len(maps)}" if len(maps) > 1 else ""
        values = low + np.array(steps, dtype=np.float32).reshape(grid, grid) / 255 * (high - low)
        caption = f"{prefix}{_texts(name)[0]}{position}"
        yield FaceMap(model, name, caption, f"{low:.3g} to {high:.3g}", _png(values, most))


def _png(values: NDArray[np.floating], most: float) -> str:
    """Return a map as a PNG with an alpha channel: transparent at 0, more opaque away from it."""
    drawn = cv2.resize(values.astype(np.float32), (DRAWN, DRAWN), interpolation=cv2.INTER_CUBIC)
    # Cubic interpolation overshoots.
    smooth = np.clip(drawn, float(values.min()), float(values.max())) / (most or 1.0)
    alpha = np.rint(np.abs(smooth) * STEPS) / STEPS * OPAQUE * 255
    rgb = np.where(smooth[:, :, None] > 0, ABOVE, BELOW)
    bgra = np.concatenate([rgb[:, :, ::-1], np.rint(alpha)[:, :, None]], axis=2).astype(np.uint8)
    encoded, png = cv2.imencode(".png", bgra, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not encoded:
        raise ContractError("a map could not be drawn", "scan without --explain")
    return base64.b64encode(png.tobytes()).decode("ascii")


def _landmarks(frame: Mapping[str, Any], run: RunInfo) -> tuple[tuple[float, float], ...]:
    # Only crops of one recipe have their landmarks in the same places.
    recipes = {model.recipe for model in run.models.values()}
    recipe = recipes.pop() if len(recipes) == 1 else None
    if recipe is None:
        return ()
    points = np.array(frame["landmarks"], dtype=np.float32)
    matrix = similarity(points, recipe.template)
    placed = (points @ matrix[:, :2].T + matrix[:, 2] + 0.5) / recipe.side
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in placed)
