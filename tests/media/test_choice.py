"""Test which decoder is used, what happens when it fails, and that the report says so."""

import pytest

from deepscan.errors import MissingError
from deepscan.media.decoders import DECODERS, installed
from deepscan.media.jobs import DecodeOptions
from deepscan.media.pool import DecodePool
from tests.media.conftest import STUB, run


def test_auto_never_takes_a_decoder_that_can_hang(media, pools):
    names = ("plain.mp4", "vp9.webm", "lying.mp4", "anim.gif", "still.tiff")
    outs = run(pools("auto"), *map(media, names))
    assert [out.report.decoder for out in outs] == ["pyav"] * 4 + ["pillow"]
    assert not DECODERS.get("decord").automatic


@pytest.mark.skipif(not installed(DECODERS.get("decord")), reason="decord has no wheels for this platform")
def test_a_decoder_chosen_by_name_says_why_it_refuses_a_file(media, pools):
    fine, gif = run(pools("decord"), media("vp9.webm"), media("anim.gif"))
    assert (fine.report.decoder, fine.report.decoded, fine.report.warnings) == ("decord", 12, ())
    assert (gif.report.status, gif.report.decoder) == ("decode_error", None)
    assert gif.report.detail == "decord cannot decode it: decord is not used for gif"


def test_a_decoder_chosen_by_name_is_never_replaced(stubbed, monkeypatch):
    monkeypatch.setattr("deepscan.media.pool.installed", lambda _: True)
    with DecodePool(DecodeOptions(decoder="decord", timeout=2.0), 1, STUB) as pool:
        some, none, hang = run(
            pool, stubbed("decord-fail@12"), stubbed("decord-fail@0"), stubbed("decord-hang@4")
        )
    assert (some.report.status, some.report.decoder, some.numbers) == ("ok", "decord", list(range(12)))
    assert "18 of 30, 0 of them replaced" in some.report.warnings[0]
    assert (none.report.status, none.report.decoder, none.numbers) == ("decode_error", None, [])
    assert none.report.detail == "only 0 of 30 sampled frames can be decoded"
    assert (hang.report.status, hang.report.decoder) == ("timeout", "decord")


def test_a_decoder_that_is_not_installed_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("deepscan.media.pool.installed", lambda _: False)
    with pytest.raises(MissingError, match="decord"):
        DecodePool(DecodeOptions(decoder="decord"), 1)


@pytest.mark.parametrize("mishap", ["fail", "break"])
def test_a_frame_that_fails_is_replaced_by_an_earlier_one_and_counted(stubbed, mishap):
    orders = stubbed(f"pyav-{mishap}@9-pyav-{mishap}@29-pyav-{mishap}@28")
    with DecodePool(DecodeOptions(frames=4, decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, orders)
    # Frames 0, 9, 19 and 29 are requested; 8 replaces 9, and 27 replaces 29.
    assert out.indices == out.numbers == [0, 8, 19, 27]
    assert out.report.status == "ok"
    assert out.report.warnings == (
        "sampled frames that cannot be decoded: 2 of 4, "
        "2 of them replaced by the last decodable frame before them",
    )


def test_a_frame_is_not_used_twice(stubbed):
    with DecodePool(DecodeOptions(decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, stubbed("pyav-fail@9-pyav-fail@10"))
    assert out.indices == [index for index in range(30) if index not in (9, 10)]
    assert "2 of 30, 0 of them replaced" in out.report.warnings[0]


def test_damage_is_reported(media):
    with DecodePool(DecodeOptions(frames=60, decoder="pyav"), 1) as pool:
        (out,) = run(pool, media("damaged.mp4"))
    assert out.report.decoded == 59
    assert "frames that depend on damaged data: 11 of 59" in out.report.warnings
