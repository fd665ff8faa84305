"""What a page says of a video's file: where it is, what it holds, and how it was made as far as it tells."""

from collections.abc import Iterator, Mapping
from typing import Any

from deepscan.media.frames import HDR
from deepscan.report.chart import clock


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
        rate = f", {media['fps']} frames/s" if media.get("fps") else ""
        shape = f"{media.get('width')} × {media.get('height')}"
        yield "video", f"{media.get('codec')} in {media.get('container')}, {shape}{turned}{rate}{length}"
        if changed := _changes(media):
            yield "shown as", f"{shape}, {', '.join(changed)}"
        decoded = f"{media['frames_decoded']} of {media['frames_sampled']} sampled frames decoded"
        yield "frames", f"{decoded} by {media.get('decoder')}"


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
