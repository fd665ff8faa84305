"""Checks before a training with several processes, which may be on several machines."""

import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deepscan.errors import UsageError
from deepscan.files import write_error
from deepscan.training.processes import Processes

#: Seconds within which a shared folder must show a new file on every machine.
_SEEN_WITHIN = 5.0
_POLL_SECONDS = 0.1


def require_same_settings(processes: Processes, settings: Mapping[str, Any], hint: str) -> None:
    """Check that all processes have the same settings.

    Args:
        processes: The processes.
        settings: Name of a setting, as in the message -> value.
        hint: Hint of the error.

    Raises:
        UsageError: Another process has other settings; raised in all processes.
    """
    everyone = processes.gather((socket.gethostname(), dict(settings)))
    host, first = everyone[0]
    for rank, (other, values) in enumerate(everyone):
        for name in {**first, **values}:
            if first.get(name) != values.get(name):
                raise UsageError(
                    f"{name} is {first.get(name)} in process 0 on {host}, but {values.get(name)} in process "
                    f"{rank} on {other}",
                    hint,
                )


def require_shared_folders(processes: Processes, folders: Mapping[str, Path]) -> None:
    """Check that every process sees what the first one writes.

    Args:
        processes: The processes.
        folders: Option -> its folder, which exists on the first process's machine.

    Raises:
        UsageError: A folder is another one on another machine; raised in all processes.
        DeepscanError: The first process cannot write.
    """
    if processes.count == 1:
        return
    # The name is new, so that no cache of a network file system knows that the file did not exist.
    token = f".shared-{processes.from_first(secrets.token_hex(8))}"
    files = {option: folder / token for option, folder in folders.items()}
    try:
        with processes.together():
            if processes.first:
                _write(files.values())
        unseen = _unseen(files)
        paths = {option: str(folder.absolute()) for option, folder in folders.items()}
        everyone = processes.gather((socket.gethostname(), paths, unseen))
    finally:
        if processes.first:
            for file in files.values():
                file.unlink(missing_ok=True)
    first_host, first_paths, _ = everyone[0]
    for rank, (host, paths, options) in enumerate(everyone):
        for option in options:
            raise UsageError(
                f"{option} {paths[option]} of process {rank} on {host} is not the folder "
                f"{first_paths[option]} of process 0 on {first_host}",
                f"all machines need the same folder: name one that they share with {option}",
            )


def _write(files: Iterable[Path]) -> None:
    for file in files:
        try:
            file.touch()
        except OSError as error:
            raise write_error(file, error)


def _unseen(files: Mapping[str, Path]) -> list[str]:
    end = time.monotonic() + _SEEN_WITHIN
    # Unlike Path.exists, this is also False for a folder without permission.
    while unseen := [option for option, file in files.items() if not os.path.exists(file)]:
        if time.monotonic() > end:
            break
        time.sleep(_POLL_SECONDS)
    return unseen
