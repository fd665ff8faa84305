"""Check that the parts of a run are exactly one record for each row of its manifest, and seal the run."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from deepscan.errors import ContractError, DeepscanError
from deepscan.scanning.chunks import Chunk
from deepscan.scanning.parts import PART_HINT
from deepscan.scanning.run_folder import PARTS, SEAL, RunFolder, part_name

#: Lines about parts that an audit keeps; it counts all.
MOST_LINES = 20
#: Parts that are read at the same time.
_READERS = 16


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        place: The run folder.
        rows: Rows of the manifest.
        chunks: Chunks of the manifest.
        done_rows: Rows whose parts are correct.
        done: Chunks whose parts are correct.
        missing: Number of chunks without a part.
        wrong: Number of parts that are not correct.
        lines: What is missing or wrong, a line for each part; of many, the first.
        bytes: Size of the correct parts together.
        sha256: SHA-256 over the names and hashes of the correct parts, in the order of names.
    """

    place: str
    rows: int
    chunks: int
    done_rows: int
    done: int
    missing: int
    wrong: int
    lines: tuple[str, ...]
    bytes: int
    sha256: str

    @property
    def complete(self) -> bool:
        """Whether there is exactly one record for each row."""
        return not self.missing and not self.wrong

    def require_complete(self) -> None:
        """Check that the run is complete.

        Raises:
            AuditError: It is not. The message names parts and rows.
        """
        if self.complete:
            return
        count, shown = self.missing + self.wrong, self.lines[:3]
        more = f"; and {count - len(shown)} more" if count > len(shown) else ""
        raise AuditError(
            f"{self.place}: {count} {'part is' if count == 1 else 'parts are'} missing or wrong: "
            f"{'; '.join(shown)}{more}",
            PART_HINT if self.wrong else "run the scan again: it scans what is missing",
        )


class AuditError(DeepscanError):
    """The parts of a run are not exactly one record for each row of its manifest."""


def audit_run(folder: RunFolder, on_progress: Callable[[int, int], None] | None = None) -> Audit:
    """Compare all parts of a run with its manifest, row by row.

    Args:
        folder: The run.
        on_progress: Receives how many chunks were compared, and how many there are.
    """
    unclaimed = set(folder.store.names(PARTS))
    lines: list[str] = []
    hashes: list[tuple[str, str]] = []
    done_rows = missing = wrong = size = 0
    for number, (chunk, result) in enumerate(_examined(folder, unclaimed), 1):
        if result is None:
            missing += 1
            first = chunk.index * folder.manifest.chunk + 1
            last = first + len(chunk.rows) - 1
            rows = f"row {first}" if first == last else f"rows {first} to {last}"
            lines += [f"{part_name(chunk.name)} is missing: {rows}"]
        elif isinstance(result, str):
            wrong += 1
            lines += [result]
        else:
            hashes += [(chunk.name, result[0])]
            size += result[1]
            done_rows += len(chunk.rows)
        del lines[MOST_LINES:]
        if on_progress is not None:
            on_progress(number, folder.manifest.chunks)
    for file in sorted(unclaimed):
        wrong += 1
        lines += [f"{PARTS}/{file} belongs to no chunk of the manifest"]
    digest = hashlib.sha256("".join(f"{name} {value}\n" for name, value in sorted(hashes)).encode())
    return Audit(
        place=folder.store.location,
        rows=folder.manifest.rows,
        chunks=folder.manifest.chunks,
        done_rows=done_rows,
        done=len(hashes),
        missing=missing,
        wrong=wrong,
        lines=tuple(lines[:MOST_LINES]),
        bytes=size,
        sha256=digest.hexdigest(),
    )


def seal_run(folder: RunFolder, audit: Audit) -> None:
    """Record the hash of all parts after an audit, so that later changes are noticed.

    Raises:
        AuditError: The run is not complete.
        ContractError: The run was sealed before, and its parts have changed since.
    """
    audit.require_complete()
    seal = {
        "run": folder.run["id"],
        "count": audit.rows,
        "parts": audit.chunks,
        "bytes": audit.bytes,
        "sha256": audit.sha256,
        "table": None,
    }
    for left in (PARTS, "attempts"):
        folder.store.remove_leftovers(left)
    if not folder.store.put_once(SEAL, json.dumps(seal, indent=1).encode("ascii") + b"\n"):
        sealed = folder.sealed()
        if sealed is None or sealed.get("sha256") != audit.sha256:
            raise ContractError(
                f"parts of {folder.store.location} were changed after the run was sealed",
                f"restore them, or delete {SEAL} if the change was intended",
            )


#: SHA-256 and size of a correct part, what is wrong with another, None for a missing one.
_Result = tuple[str, int] | str | None


def _examined(folder: RunFolder, unclaimed: set[str]) -> Iterator[tuple[Chunk, _Result]]:
    """Yield each chunk with what is known about its part, which is removed from `unclaimed`."""

    def examine(chunk: Chunk) -> _Result:
        return _examine(folder, chunk)

    with ThreadPoolExecutor(_READERS) as threads:
        ahead: deque[tuple[Chunk, Future[_Result] | None]] = deque()
        for chunk in folder.chunks():
            file = part_name(chunk.name).removeprefix(f"{PARTS}/")
            there = file in unclaimed
            unclaimed.discard(file)
            ahead.append((chunk, threads.submit(examine, chunk) if there else None))
            if len(ahead) > 2 * _READERS:
                first, future = ahead.popleft()
                yield first, None if future is None else future.result()
        for first, future in ahead:
            yield first, None if future is None else future.result()


def _examine(folder: RunFolder, chunk: Chunk) -> _Result:
    name = part_name(chunk.name)
    try:
        content = folder.store.read(name)
        # The records are read too: only pages that are read are compared with their checksums.
        part = folder.parse_part(chunk.name, content, ("path", "path_bytes", "record"))
    except FileNotFoundError:
        return None
    except ContractError as error:
        return error.message
    problem = row_difference([row.path for row in chunk.rows], part.paths)
    if problem is not None:
        return f"{name}: {problem}"
    return hashlib.sha256(content).hexdigest(), len(content)


def row_difference(expected: Sequence[bytes], found: Sequence[bytes]) -> str | None:
    """Return how the paths of a part differ from those of its chunk, None if they do not.

    Args:
        expected: Paths of the rows of the chunk.
        found: Paths of the rows of the part.
    """
    if list(expected) == list(found):
        return None
    known, seen = set(expected), set[bytes]()
    for number, path in enumerate(found, 1):
        name = path.decode("utf-8", "replace")
        if path not in known:
            return f"row {number} is {name!r}, which does not belong to this chunk"
        if path in seen:
            return f"row {number} repeats {name!r}"
        seen.add(path)
    lost = next((path for path in expected if path not in seen), None)
    if lost is not None:
        return f"the row of {lost.decode('utf-8', 'replace')!r} is missing"
    return "its rows are in another order than those of the manifest"
