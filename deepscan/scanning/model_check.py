"""Whether the models of a run are what its file states: their files, and the thresholds of their cards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepscan.cards import ModelCard, embedded_folder, read_card, sha256_of
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, DeepscanError
from deepscan.faces.finder import describe_finder
from deepscan.models.lookup import find_model

#: `mismatch`: something is not what was stated; `missing`: it is not there; `unchecked`: it cannot be told.
FindingKind = Literal["mismatch", "missing", "unchecked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not match, or could not be checked.

    Attributes:
        kind: Which of the two.
        subject: The path of the video, or what else it is about.
        what: What of it, in words.
        stated: As the records or the run's file have it, empty where that says nothing.
        found: As it is now, likewise.
        meaning: What follows from it, in a sentence.
    """

    kind: FindingKind
    subject: str
    what: str
    stated: str = ""
    found: str = ""
    meaning: str = ""


def run_detectors(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detectors of a run as its file states them, by name."""
    one = run.get("model")
    return dict(run.get("models") or ({one["name"]: one} if one else {}))


def run_models(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return all networks of a run by name: detectors, and what finds and knows faces."""
    helpers = [run[key] for key in ("faces", "face_filter", "looks") if run.get(key)]
    return {**run_detectors(run), **{each["name"]: each for each in helpers}}


def check_model(
    name: str, stated: Mapping[str, Any], run: Mapping[str, Any], folders: Sequence[Path]
) -> Iterator[Finding]:
    """Yield what of a model's files and thresholds is not as the run states it."""
    subject = f"model {name}"
    if name == (run.get("faces") or {}).get("name") and "facenet" in name:
        yield from _facenet(subject, stated, run)
        return
    card = _find_card(name, run, folders)
    if card is None:
        meaning = "If it is elsewhere now, name its folder with --model."
        yield Finding("missing", subject, "its folder", meaning=meaning)
        return
    for kind, sha256 in stated["files"].items():
        path = card.folder / card.files[kind].path if kind in card.files else None
        if path is None or not path.is_file():
            meaning = "The folder of the model is not whole."
            yield Finding("missing", subject, f"its {kind} file in {card.folder}", meaning=meaning)
        elif (found := sha256_of(path)) != sha256:
            meaning = "Another model has this name now, or its file was changed: the scores are not its own."
            yield Finding("mismatch", subject, str(path), sha256, found, meaning)
    for limit in ("least", "alike"):
        if limit in stated and stated[limit] != (own := card.network.get(limit)):
            meaning = "Its card, or the run's file, was changed: who is judged holds for the stated one only."
            where = f"{limit} in {card.folder / 'card.yaml'}"
            yield Finding("mismatch", subject, where, str(stated[limit]), str(own), meaning)
    fitted = card.calibration.to_json() if card.calibration else None
    if "calibration" in stated and stated["calibration"] != fitted:
        meaning = "Its card, or the run's file, was changed: the verdicts hold for the stated ones only."
        yield Finding(
            "mismatch",
            subject,
            f"calibration in {card.folder / 'card.yaml'}",
            _thresholds(stated["calibration"]),
            _thresholds(fitted),
            meaning,
        )
    counted = [each.in_words for each in card.error_rates]
    said = [ErrorRates.from_json(each).in_words for each in stated.get("error_rates", ())]
    if "error_rates" in stated and said != counted:
        meaning = (
            "Either its card was measured again since, or one of the two was changed by hand: a page shows "
            "what the run's file states."
        )
        yield Finding(
            "unchecked",
            subject,
            f"error rates in {card.folder / 'card.yaml'}",
            "; ".join(said) or "none",
            "; ".join(counted) or "none",
            meaning,
        )


def _thresholds(calibration: Mapping[str, Any] | None) -> str:
    if not calibration:
        return "none"
    return "fake from {fake}, no evidence below {no_evidence}, temperature {temperature}, {n} samples".format(
        **calibration
    )


def _facenet(subject: str, stated: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        found = describe_finder(run["parameters"]["faces"])
    except DeepscanError as error:
        yield Finding("missing", subject, "its package", meaning=f"{error.message}.")
        return
    for kind, sha256 in stated["files"].items():
        if found["files"].get(kind) != sha256:
            meaning = "Another version of the package is installed."
            yield Finding("mismatch", subject, f"its {kind}", sha256, str(found["files"].get(kind)), meaning)


def _find_card(name: str, run: Mapping[str, Any], folders: Sequence[Path]) -> ModelCard | None:
    """Return the card of a model of a run: where the user says, where the scan had it, or by its name."""
    parameters, sessions = run.get("parameters") or {}, run.get("sessions") or [{}]
    named = [parameters.get("model"), *(parameters.get("also") or ())]
    places = [*folders, *(Path(sessions[0].get("folder") or ".") / str(each) for each in named if each)]
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
