"""Describe a video's file: where it is, what it contains, and what it says about its origin."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from deepscan.media.frames import HDR
from deepscan.report.chart import clock

#: State of Content Credentials -> its meaning.
_STATES = {
    "trusted": "The manifest matches the file, and its signature is trusted",
    "valid": "The manifest matches the file and its signature; the identity of the signer was not checked",
    "invalid": "The manifest is not valid: the file or the manifest was changed afterwards, or is damaged",
    "elsewhere": "The manifest is stored elsewhere and was not downloaded",
    "unreadable": "There may be a manifest, but it could not be read",
}


def file_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield facts about a video's file as pairs of name and text.

    Args:
        record: A parsed line of a journal.
    """
    media = record["media"] or {}
    yield "path", record["path"]
    if "path_bytes" in record:
        yield "path in bytes", record["path_bytes"]
    if "copied_from" in record:
        yield "results from", f"{record['copied_from']}, a file with the same content"
    if record["sha256"]:
        yield "SHA-256", record["sha256"]
        yield "size", f"{record['bytes']:,} bytes"
    if media:
        turned = f", rotated by {media['rotation']}°" if media.get("rotation") else ""
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
    """Yield what a file says about its origin, and its structure; earlier records have less."""
    for key, name in (("encoder", "encoder"), ("device", "device"), ("created", "created")):
        if media.get(key):
            yield f"claimed {name}", media[key]
    if length := _length(media):
        yield "header", length
    if gaps := media.get("keyframe_gaps"):
        least, median, most = gaps
        every = (
            f"every {most} frames" if least == most else f"every {least} to {most} frames, median {median}"
        )
        yield "keyframes", f"{media['keyframes']}, {every}"
    elif media.get("keyframes"):
        yield "keyframes", "only the first frame" if media["keyframes"] == 1 else str(media["keyframes"])
    if edits := media.get("edits"):
        yield "edit list", "; ".join(_edit(*edit) for edit in edits)
    if credentials := media.get("credentials"):
        yield "Content Credentials", describe_credentials(credentials)


def _length(media: Mapping[str, Any]) -> str:
    """Describe how the header differs from the content; empty if it does not."""
    parts = []
    declared, found = media.get("duration_stated"), media.get("duration")
    # Audio ends slightly before or after the video.
    slack = max(0.1, 0.01 * (found or 0.0))
    if declared and found and abs(declared - found) > slack:
        parts.append(f"declares {declared:.2f} s including audio, the video lasts {found:.2f} s")
    if media.get("frames_stated") and media["frames_stated"] != media["frames_decodable"]:
        parts.append(f"declares {media['frames_stated']} frames, the file has {media['frames_decodable']}")
    return "; ".join(parts)


def _edit(seconds: float, start: float | None, rate: float) -> str:
    source = "nothing" if start is None else f"the stream from {start:.2f} s"
    speed = "" if rate == 1 else f" at {rate:g} times the speed"
    return f"shows {source} for {seconds:.2f} s{speed}"


def describe_credentials(credentials: Mapping[str, Any]) -> str:
    """Describe what a file's Content Credentials claim, and whether they validate.

    Args:
        credentials: As in a record.
    """
    state = credentials.get("state", "")
    sentences = [_STATES.get(state, f"There is a manifest, with state {state}")]
    if problems := credentials.get("problems"):
        sentences.append(f"Problems: {', '.join(problems)}")
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
        sentences.append(f"It claims: {', '.join(claims)}")
    sentences.append("Scores do not depend on it")
    return ". ".join(sentences) + "."


def _changes(media: Mapping[str, Any]) -> list[str]:
    """Return how stored frames were changed to look as in a player."""
    changed = []
    sizes = [sorted((media.get(f"{of}width") or 0, media.get(f"{of}height") or 0)) for of in ("", "stored_")]
    if media.get("stored_width") and sizes[0] != sizes[1]:
        stored = f"{media['stored_width']} × {media['stored_height']}"
        changed.append(f"stored as {stored} with pixels of aspect {media['pixel_aspect']}")
    if media.get("field_order", "progressive") != "progressive":
        changed.append("deinterlaced")
    if media.get("transfer") in HDR:
        changed.append(f"converted from HDR ({media['transfer']}) to BT.709")
    return changed
