"""Check that the models of a run are unchanged: their files, and the thresholds in their cards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepscan.cards import ModelCard, embedded_folder, read_card, sha256_of
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, DeepscanError
from deepscan.faces.finder import describe_finder
from deepscan.models.lookup import find_model

#: `mismatch`: it is not as recorded; `missing`: it was not found; `unchecked`: it could not be checked.
FindingKind = Literal["mismatch", "missing", "unchecked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not match, or could not be checked.

    Attributes:
        kind: What is wrong.
        subject: The path of the video, or what else the finding is about.
        what: Which property of the subject.
        recorded: The value in the records or the run's file, empty if there is none.
        found: The current value, likewise.
        meaning: What follows from it, in a sentence.
    """

    kind: FindingKind
    subject: str
    what: str
    recorded: str = ""
    found: str = ""
    meaning: str = ""


def run_detectors(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detectors in a run's record, by name."""
    model = run.get("model")
    return dict(run.get("models") or ({model["name"]: model} if model else {}))


def run_models(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return all networks in a run's record by name: detectors, and those for faces and persons."""
    helpers = [run[key] for key in ("faces", "face_filter", "looks") if run.get(key)]
    return {**run_detectors(run), **{helper["name"]: helper for helper in helpers}}


def check_model(
    name: str, recorded: Mapping[str, Any], run: Mapping[str, Any], folders: Sequence[Path]
) -> Iterator[Finding]:
    """Yield how a model's files and thresholds differ from the run's record."""
    subject = f"model {name}"
    if name == (run.get("faces") or {}).get("name") and "facenet" in name:
        yield from _facenet(subject, recorded, run)
        return
    card = _find_card(name, run, folders)
    if card is None:
        meaning = "If it was moved, name its folder with --model."
        yield Finding("missing", subject, "its folder", meaning=meaning)
        return
    for kind, sha256 in recorded["files"].items():
        path = card.folder / card.files[kind].path if kind in card.files else None
        if path is None or not path.is_file():
            meaning = "The folder of the model is incomplete."
            yield Finding("missing", subject, f"its {kind} file in {card.folder}", meaning=meaning)
        elif (found := sha256_of(path)) != sha256:
            meaning = (
                "Another model has this name now, or the file was changed: the scores are not from this file."
            )
            yield Finding("mismatch", subject, str(path), sha256, found, meaning)
    for limit in ("least", "alike"):
        if limit in recorded and recorded[limit] != (own := card.network.get(limit)):
            meaning = "Its card or the run's file was changed: who was judged depends on the recorded value."
            where = f"{limit} in {card.folder / 'card.yaml'}"
            yield Finding("mismatch", subject, where, str(recorded[limit]), str(own), meaning)
    fitted = card.calibration.to_json() if card.calibration else None
    if "calibration" in recorded and recorded["calibration"] != fitted:
        meaning = (
            "Its card or the run's file was changed: the verdicts apply to the recorded thresholds only."
        )
        yield Finding(
            "mismatch",
            subject,
            f"calibration in {card.folder / 'card.yaml'}",
            _thresholds(recorded["calibration"]),
            _thresholds(fitted),
            meaning,
        )
    current = [rates.summary for rates in card.error_rates]
    earlier = [ErrorRates.from_json(rates).summary for rates in recorded.get("error_rates", ())]
    if "error_rates" in recorded and earlier != current:
        meaning = (
            "Either the model was measured again since, or one of the two was edited. A page shows those in "
            "the run's file."
        )
        yield Finding(
            "unchecked",
            subject,
            f"error rates in {card.folder / 'card.yaml'}",
            "; ".join(earlier) or "none",
            "; ".join(current) or "none",
            meaning,
        )


def _thresholds(calibration: Mapping[str, Any] | None) -> str:
    if not calibration:
        return "none"
    return "fake from {fake}, no evidence below {no_evidence}, temperature {temperature}, {n} samples".format(
        **calibration
    )


def _facenet(subject: str, recorded: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        found = describe_finder(run["parameters"]["faces"])
    except DeepscanError as error:
        yield Finding("missing", subject, "its package", meaning=f"{error.message}.")
        return
    for kind, sha256 in recorded["files"].items():
        if found["files"].get(kind) != sha256:
            meaning = "Another version of the package is installed."
            yield Finding("mismatch", subject, f"its {kind}", sha256, str(found["files"].get(kind)), meaning)


def _find_card(name: str, run: Mapping[str, Any], folders: Sequence[Path]) -> ModelCard | None:
    """Return the card of a run's model: from the given folders, where the scan had it, or by its name."""
    parameters, sessions = run.get("parameters") or {}, run.get("sessions") or [{}]
    named = [parameters.get("model"), *(parameters.get("also") or ())]
    places = [*folders, *(Path(sessions[0].get("folder") or ".") / str(model) for model in named if model)]
    for folder in [*places, *_by_name(name)]:
        try:
            card = read_card(folder)
        except ContractError:
            continue
        if card.name == name:
            return card
    return None


def _by_name(name: str) -> Iterator[Path]:
    yield embedded_folder() / name
    yield from (folder.parent for folder in embedded_folder().glob("*/card.yaml"))
    try:
        yield find_model(name)
    except DeepscanError:
        return
