"""Read the records of a scan, wherever the scan has written them."""

import os
from pathlib import Path

from deepscan.scanning.record_source import (
    TABLE,
    JournalRecords,
    RecordsLocation,
    ScanRecords,
    is_run_folder,
)


def open_records(location: RecordsLocation | ScanRecords) -> ScanRecords:
    """Open the records of a scan for reading.

    Args:
        location: The `.jsonl` file that `deepscan scan --out` wrote, a run folder or its address, or a
            `.parquet` file that `deepscan compact` wrote. Records that are open are returned unchanged.

    Raises:
        UsageError: It is a folder without a run, or an address where no run can be.
        ContractError: It is a run folder of another version.
        MissingError: A package that is needed to read it is missing.
    """
    if isinstance(location, ScanRecords):
        return location
    text = os.fspath(location)
    if is_run_folder(text):
        from deepscan.scanning.folder_records import FolderRecords

        return FolderRecords(text)
    if text.endswith(TABLE):
        from deepscan.scanning.record_table import TableRecords

        return TableRecords(Path(text))
    return JournalRecords(Path(text))
