"""Pictures as phones write them, from a folder."""

from pathlib import Path

from tests.command import deepscan

PICTURES = Path(__file__).parents[1] / "media" / "pictures"


def test_heic_and_avif_are_taken_from_a_folder():
    ran = deepscan("scan", PICTURES, "--model", "none")
    assert ran.code == 0, ran.err
    found = {Path(record["path"]).name: record for record in ran.records}
    assert sorted(found) == ["ignored.heic", "tiles1.avif", "tiles1.heic", "tiles6.heic", "tiles7.avif"]
    # They show blocks, no face, and are read whole.
    assert {record["status"] for record in found.values()} == {"no_face"}
    assert {(record["media"]["width"], record["media"]["height"]) for record in found.values()} == {(160, 96)}
    assert {record["media"]["decoder"] for record in found.values()} == {"pillow"}
    assert "left out of folders: 1 .md" in ran.err
