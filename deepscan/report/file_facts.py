"""What a page says of a video's file: where it is, what it holds, and how it was made as far as it tells."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from deepscan.media.frames import HDR
from deepscan.report.chart import clock

#: What the states of Content Credentials mean.
_STATES = {
    "trusted": "The manifest fits the file, and its signature is one that is trusted",
    "valid": "The manifest fits the file and its signature; who the signer is was not checked",
    "invalid": "The manifest does not validate: the file or the manifest was changed since, or it is damaged",
    "elsewhere": "The manifest is not in the file but elsewhere, and was not fetched",
    "unreadable": "There may be a manifest, which could not be read",
}


def file_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of a video's file, by name, in words.

    Args:
        record: A parsed line of a journal.
    """
    media = record["media"] or {}
    yield "path", record["path"]
    if "path_bytes" in record:
        yield "path in bytes", record["path_bytes"]
    if record["sha256"]:
        yield "SHA-256", record["sha256"]
        yield "size", f"{record['bytes']:,} bytes"
    if media:
        turned = f", turned by {media['rotation']}°" if media.get("rotation") else ""
        turned += ", mirrored" if media.get("mirrored") else ""
        length = f", {clock(media['duration'])}" if media.get("duration") else ""
        rate = f", {float(Fraction(media['fps'])):.4g} frames/s" if media.get("fps") else ""
        shape = f"{media.get('width')} × {media.get('height')}"
        yield "video", f"{media.get('codec')} in {media.get('container')}, {shape}{turned}{rate}{length}"
        if changed := _changes(media):
            yield "shown as", f"{shape}, {', '.join(changed)}"
        decoded = f"{media['frames_decoded']} of {media['frames_sampled']} sampled frames decoded"
        yield "frames", f"{decoded} by {media.get('decoder')}"
        yield from _origins(media)


def _origins(media: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how a file says it was made, and what its structure tells; earlier records say less."""
    for key, name in (("encoder", "says it was made by"), ("device", "with"), ("created", "on")):
        if media.get(key):
            yield name, media[key]
    if length := _length(media):
        yield "its header says", length
    if gaps := media.get("keyframe_gaps"):
        least, middle, most = gaps
        every = (
            f"every {most} frames" if least == most else f"every {least} to {most} frames, mostly {middle}"
        )
        yield "keyframes", f"{media['keyframes']}, {every}"
    elif media.get("keyframes"):
        yield "keyframes", "the first frame alone" if media["keyframes"] == 1 else str(media["keyframes"])
    if edits := media.get("edits"):
        yield "edit list", "; ".join(_edit(*edit) for edit in edits)
    if credentials := media.get("credentials"):
        yield "Content Credentials", credential_words(credentials)


def _length(media: Mapping[str, Any]) -> str:
    """Return in what the header differs from what is there, in words; empty where it does not."""
    said = []
    stated, found = media.get("duration_stated"), media.get("duration")
    # The sound ends a little before or after the pictures.
    slack = max(0.1, 0.01 * (found or 0.0))
    if stated and found and abs(stated - found) > slack:
        said.append(f"{stated:.2f} s with all sound, its pictures last {found:.2f} s")
    if media.get("frames_stated") and media["frames_stated"] != media["frames_decodable"]:
        said.append(f"{media['frames_stated']} frames, {media['frames_decodable']} are there")
    return "; ".join(said)


def _edit(seconds: float, start: float | None, rate: float) -> str:
    what = "nothing" if start is None else f"what is stored from {start:.2f} s on"
    speed = "" if rate == 1 else f" at {rate:g} times its speed"
    return f"shows {what} for {seconds:.2f} s{speed}"


def credential_words(credentials: Mapping[str, Any]) -> str:
    """Return what a file's Content Credentials claim, and whether they validate, in sentences.

    Args:
        credentials: As a record has them.
    """
    state = credentials.get("state", "")
    said = [_STATES.get(state, f"The manifest is there, and its state is {state}")]
    if problems := credentials.get("problems"):
        said.append(f"Problems: {', '.join(problems)}")
    claims = [
        f"{name} {credentials[key]}"
        for name, key in (
            ("made by", "generator"),
            ("titled", "title"),
            ("signed by", "signer"),
            ("of", "issuer"),
            ("on", "signed"),
        )
        if credentials.get(key)
    ]
    if credentials.get("actions"):
        claims.append(f"actions {', '.join(credentials['actions'])}")
    if claims:
        said.append(f"It claims: {', '.join(claims)}")
    said.append("No score depends on it")
    return ". ".join(said) + "."


def _changes(media: Mapping[str, Any]) -> list[str]:
    """Return what was done to the stored frames so that they are seen as a player shows them."""
    changed = []
    sizes = [sorted((media.get(f"{of}width") or 0, media.get(f"{of}height") or 0)) for of in ("", "stored_")]
    if media.get("stored_width") and sizes[0] != sizes[1]:
        stored = f"{media['stored_width']} × {media['stored_height']}"
        changed.append(f"stored as {stored} with pixels of {media['pixel_aspect']}")
    if media.get("field_order", "progressive") != "progressive":
        changed.append("deinterlaced")
    if media.get("transfer") in HDR:
        changed.append(f"brought from high dynamic range ({media['transfer']}) to BT.709")
    return changed
