"""How many requests to a store the chunks of a shard take."""

from collections import Counter

from deepscan.scanning.run_folder import RunFolder
from tests.scanning.fake_worker import job, scan


def test_a_chunk_takes_four_requests(s3, s3_requests):
    counts = []
    for chunks in (4, 10):
        s3_requests.clear()
        location = s3.address(f"run-{chunks}/")
        paths = [f"/videos/{number}.mp4" for number in range(2 * chunks)]
        assert scan(job(location, paths, chunk=2)).sealed
        assert RunFolder.open(location).sealed()["parts"] == chunks
        counts.append(Counter(s3_requests))
    # The attempt and the part are written, the attempt is deleted, and the audit reads the part.
    assert counts[1] - counts[0] == {"put_object": 2 * 6, "delete_object": 6, "get_object": 6}
    assert counts[0]["head_object"] == 0
