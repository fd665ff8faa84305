"""Read Content Credentials (C2PA) with the library c2pa: what a manifest claims and whether it validates.

A missing manifest means nothing, and one that is present changes no score. Nothing is downloaded: no remote
manifest, no certificate status, no timestamp.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from deepscan.media.source import SourceFile

#: Seconds after which the library is stopped.
LIMIT = 60
#: Occurs in every manifest.
_MARK = b"c2pa"
_CHUNK = 1 << 20
#: Most actions and problems that are kept, and the length at which texts are cut.
_ACTIONS, _PROBLEMS, _LONGEST = 16, 8, 200
# deepscan has no list of trusted certificates: a signature is verified, but not who owns it.
_SETTINGS = {
    "verify": {
        "verify_after_reading": True,
        "verify_trust": False,
        "verify_timestamp_trust": False,
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
    },
    "core": {"allowed_network_hosts": []},
}


def installed() -> bool:
    """Return whether the library is installed, without importing it."""
    return find_spec("c2pa") is not None


def read_credentials(source: SourceFile) -> dict[str, Any] | None:
    """Return what a file's Content Credentials claim, None if it has none or the library is not installed.

    The library runs in a separate process, so a hostile manifest can only cost its own claims.

    Args:
        source: The opened file.
    """
    if not installed() or not _has_mark(source):
        return None
    command = [sys.executable, "-m", __name__, str(source.fd)]
    try:
        done = subprocess.run(
            command,
            pass_fds=[source.fd],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=True,
        )
        found: dict[str, Any] | None = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"state": "unreadable", "problems": [type(error).__name__]}
    return found


def claims(store: Mapping[str, Any], state: str | None) -> dict[str, Any]:
    """Return the claims of a file's active manifest, and whether it validates.

    Args:
        store: The manifests as returned by the library.
        state: `Valid`, `Trusted` or `Invalid`, None if the library gives no state.
    """
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    generators = [
        " ".join(filter(None, (_text(generator.get("name")), _text(generator.get("version")))))
        for generator in manifest.get("claim_generator_info") or ()
    ]
    return {
        "state": (state or "unknown").lower(),
        "generator": ", ".join(filter(None, generators)) or _text(manifest.get("claim_generator")),
        "title": _text(manifest.get("title")),
        "signer": _text(signature.get("common_name")) or _text(signature.get("issuer")),
        "issuer": _text(signature.get("issuer")),
        "signed": _text(signature.get("time")),
        "actions": list(dict.fromkeys(_actions(manifest)))[:_ACTIONS],
        "ingredients": len(manifest.get("ingredients") or ()),
        "problems": list(dict.fromkeys(_problems(store)))[:_PROBLEMS],
    }


def _actions(manifest: Mapping[str, Any]) -> Iterator[str]:
    for assertion in manifest.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in (assertion.get("data") or {}).get("actions") or ():
                source = _text(action.get("digitalSourceType")).rsplit("/", 1)[-1]
                yield _text(action.get("action")) + (f" ({source})" if source else "")


def _problems(store: Mapping[str, Any]) -> Iterator[str]:
    active = (store.get("validation_results") or {}).get("activeManifest") or {}
    for problem in (*(active.get("failure") or ()), *(store.get("validation_status") or ())):
        yield _text(problem.get("code"))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_LONGEST]


def _has_mark(source: SourceFile) -> bool:
    """Return whether a file may hold a manifest."""
    kept = b""
    try:
        with open(source.url(), "rb", buffering=0) as file:
            file.seek(0)
            while chunk := file.read(_CHUNK):
                if _MARK in kept + chunk:
                    return True
                kept = chunk[1 - len(_MARK) :]
    except OSError:
        return False
    return False


def main(arguments: Sequence[str]) -> None:
    """Print the claims of an open file's Content Credentials as JSON.

    Args:
        arguments: The file's descriptor.
    """
    # The parent, which enforces the time limit, may have died.
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import c2pa

    with open(f"/dev/fd/{int(arguments[0])}", "rb") as file:
        file.seek(0)
        context = c2pa.Context.from_dict(_SETTINGS)
        try:
            reader = c2pa.Reader.try_create(file, context=context)
            found = (
                None if reader is None else claims(json.loads(reader.json()), reader.get_validation_state())
            )
        except c2pa.C2paError as error:
            # The library has no separate class for a remote manifest that it was not allowed to fetch.
            elsewhere = "remote manifest" in str(error).lower()
            found = {"state": "elsewhere" if elsewhere else "unreadable", "problems": [_text(str(error))]}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[-1:])
