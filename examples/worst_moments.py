"""Read the records of a scan, and list when each suspicious person looks most like a fake.

deepscan scan videos/ --out records.jsonl
python examples/worst_moments.py records.jsonl
"""

import argparse

import deepscan


def main() -> None:
    """Read the records that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", help="the .jsonl file of a scan")
    parser.add_argument("--moments", type=int, default=3, help="how many to list for each person")
    arguments = parser.parse_args()

    for record in deepscan.read_records(arguments.records):
        if record.verdict not in ("fake", "inconclusive"):
            continue
        print(f"{record.path}: {record.verdict}, score {record.score:.2f}")
        for track in record.tracks:
            if not track.counted:
                continue
            faces = [face for face in record.faces if face.track == track.id]
            faces.sort(key=lambda face: face.score or 0, reverse=True)
            moments = [f"{face.pts:.2f} s ({face.score:.2f})" for face in faces[: arguments.moments]]
            print(f"  {track.label}, score {track.score:.2f}: {', '.join(moments)}")


if __name__ == "__main__":
    main()
