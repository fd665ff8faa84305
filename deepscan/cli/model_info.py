"""Describe a model for people: what it is, how good, what for, license and files."""

import sys
from collections.abc import Iterator

from rich.text import Text

from deepscan.cards import ModelCard
from deepscan.cli.streams import is_terminal, print_line, stdout_console
from deepscan.cli.wrapping import wrap
from deepscan.models.catalogue import PublishedModel
from deepscan.models.store import Listed
from deepscan.scanning.summary import printable

Sections = Iterator[tuple[str, list[str]]]

STATES = {
    "embedded": "built in",
    "installed": "installed",
    "known": "not installed",
    "refused": "not supported",
}
INDENT = 2


def print_model(model: Listed) -> None:
    """Print what people want to know about a model, in short; its card has everything.

    Args:
        model: An entry of the list of models.
    """
    terminal = is_terminal(sys.stdout)
    console = stdout_console()
    for number, (heading, lines) in enumerate(_sections(model)):
        shown = [f"{' ' * INDENT}{printable(line)}" for line in lines]
        if not terminal:
            # A line for each fact, for grep.
            print_line("\n".join([""] * bool(number) + [heading, *shown]))
            continue
        wrapped = [part for line in lines for part in wrap(printable(line), console.width, INDENT)]
        text = Text("\n" * bool(number)).append(heading, "bold").append("".join(f"\n{x}" for x in wrapped))
        console.print(text, soft_wrap=True, highlight=False)


def _sections(model: Listed) -> Sections:
    """Yield headings, each with the lines below it."""
    card, published = model.card, model.published
    source = card or published
    yield model.name, [*([source.summary] if source else []), f"{_kind(card)}, {STATES[model.state]}"]
    if model.error:
        yield "Cannot be used", [model.error.message, model.error.hint]
    if card:
        if card.crop:
            yield "Scan with it", [f"deepscan scan PATH --model {model.name}"]
            yield "Verdicts", [_verdicts(card)]
        yield from _measured(card)
    elif published:
        yield ("Why not" if published.refused else "Install it"), [published.refused or published.how_to_get]
    if published and not (card and card.results):
        yield from _published(published)
    if source:
        yield "Not for", [f"- {line}" for line in source.not_for] or ["the card does not say"]
        yield from _origin(card, published)
    if card:
        sizes = [(each.path, each.sha256, card.folder / each.path) for each in card.files.values()]
        lines = [
            f"{name}, {_size(path.stat().st_size) if path.is_file() else 'missing'}"
            for name, _, path in sizes
        ]
        hashes = [f"SHA-256 {sha256}" for _, sha256, _ in sizes]
        yield f"Files in {card.folder}", [line for pair in zip(lines, hashes, strict=True) for line in pair]
    elif published and not published.refused:
        file = published.source
        size = f", {_size(file.bytes)}" if file.bytes else ""
        known = (
            f"SHA-256 {file.sha256}" if file.sha256 else "SHA-256 unknown: that of the first download is kept"
        )
        yield "File", [f"{file.file}{size}, from {file.address}", known]


def _kind(card: ModelCard | None) -> str:
    if card is None or card.crop:
        return "Detector"
    return "Part of every scan, not a detector"


def _verdicts(card: ModelCard) -> str:
    if (fitted := card.calibration) is None:
        return "not calibrated: every verdict is inconclusive, and scores are not probabilities"
    return (
        f"fake from a score of {fitted.fake:.2f}, no evidence below {fitted.no_evidence:.2f}, "
        "inconclusive in between"
    )


def _measured(card: ModelCard) -> Sections:
    lines = [f"On {rates.data}, {rates.summary}." for rates in card.error_rates]
    shown: list[tuple[str, str]] = []
    for result in card.results:
        level, data = result.get("level", "frame"), str(result.get("data"))
        if result.get("metric") != "auc" or "kind" in result:
            continue
        # The same data in another precision.
        if any(level == each and data.startswith(known) for each, known in shown):
            continue
        shown.append((level, data))
        interval = "{:.2f} to {:.2f}, ".format(*result["interval"]) if result.get("interval") else ""
        samples = f"{result['n']:,} {'videos' if level == 'video' else 'faces'}"
        lines.append(f"AUC {result['value']:.2f} ({interval}{samples}) on {data}")
    if lines:
        yield "How good it is (an AUC of 0.5 is chance)", lines
    elif card.crop:
        yield "How good it is", ["unknown: its card has no error rates and no AUC"]


def _published(published: PublishedModel) -> Sections:
    lines = [
        f"{str(result['metric']).upper()} {result['value']:.2f} on {result['data']}"
        for result in published.published
        if isinstance(result.get("value"), float)
    ]
    yield "How good it is, according to its publisher", [*lines, f"see {published.published_in}"]


def _origin(card: ModelCard | None, published: PublishedModel | None) -> Sections:
    trained = card.trained if card else published.trained if published else {}
    if data := trained.get("data"):
        yield "Trained on", [str(data)]
    source = card or published
    terms = trained.get("terms") or (published.terms if published else "")
    yield "License", [str(line) for line in (source.license if source else "", terms) if line]


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"
