"""Which decoder gives the frames, what happens when it cannot, and that the report tells."""

import os

import pytest

from deepscan.errors import MissingError
from deepscan.media.decoders import DECODERS, installed
from deepscan.media.pool import DecodeJob, DecodeOptions, DecodePool
from tests import awkward
from tests.media.conftest import STUB, drain, run


def test_auto_says_when_decord_failed_and_only_then(media, pools):
    lying, gif, plain = run(pools("auto"), media("lying.mp4"), media("anim.gif"), media("plain.mp4"))
    assert lying.report.decoder == "pyav"
    assert any("decord cannot decode it" in line for line in lying.report.warnings)
    assert lying.numbers == list(range(30))
    assert (gif.report.decoder, gif.report.warnings) == ("pyav", ())
    assert plain.report.warnings == ()


def test_auto_takes_the_one_that_need_not_decode_every_frame(media, pools):
    b_frames, vp9 = run(pools("auto"), media("plain.mp4"), media("vp9.webm"))
    assert (b_frames.report.decoder, b_frames.report.warnings) == ("pyav", ())
    assert vp9.report.decoder == ("decord" if installed(DECODERS.get("decord")) else "pyav")


def test_auto_leaves_large_frames_to_the_decoder_that_holds_few(pools, tmp_path):
    small, large = (
        awkward.video(tmp_path / f"{width}.mp4", 4, codec="libx265", size=(width, 1600))
        for width in (160, 2720)
    )
    decord = "decord" if installed(DECODERS.get("decord")) else "pyav"
    assert [out.report.decoder for out in run(pools("auto"), small, large)] == [decord, "pyav"]
    if decord == "decord":
        (named,) = run(pools("decord"), large)
        assert (named.report.decoder, named.report.decoded) == ("decord", 4)


def test_a_decoder_asked_for_by_name_is_never_replaced(stubbed, monkeypatch):
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


def test_decord_failing_midway_is_replaced_without_duplicates(stubbed):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        (out,) = run(pool, stubbed("decord-fail@12"))
    assert out.indices == out.numbers == list(range(30))
    assert out.report.decoder == "decord+pyav"
    assert out.report.warnings == ("decord failed at frame 12: as told; pyav took over",)


def test_an_absent_decord_needs_no_warning(stubbed):
    with DecodePool(DecodeOptions(), 1, [*STUB, "no-decord"]) as pool:
        (out,) = run(pool, stubbed("decord-fail@0"))
    assert (out.report.decoder, out.report.warnings) == ("pyav", ())


def test_decord_hanging_leaves_time_for_pyav(stubbed):
    with DecodePool(DecodeOptions(timeout=6.0), 1, STUB) as pool:
        (out,) = run(pool, stubbed("decord-hang@12"))
    assert out.report.status == "ok"
    assert out.indices == out.numbers == list(range(30))
    assert out.report.decoder == "decord+pyav"
    assert out.report.warnings == ("decord gave no answer in half of the time; pyav took over",)


@pytest.mark.parametrize("what", ["fail", "break"])
def test_a_frame_that_fails_steps_back_and_is_counted(stubbed, what):
    orders = stubbed(f"pyav-{what}@9-pyav-{what}@29-pyav-{what}@28")
    with DecodePool(DecodeOptions(frames=4, decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, orders)
    # Asked for 0, 9, 19 and 29: in place of 9 there is 8, of 29 there is 27.
    assert out.indices == out.numbers == [0, 8, 19, 27]
    assert out.report.status == "ok"
    assert out.report.warnings == (
        "sampled frames that cannot be decoded: 2 of 4, 2 of them replaced by the last decodable one before",
    )


def test_a_frame_is_not_used_twice(stubbed):
    with DecodePool(DecodeOptions(decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, stubbed("pyav-fail@9-pyav-fail@10"))
    assert out.indices == [index for index in range(30) if index not in (9, 10)]
    assert "2 of 30, 0 of them replaced" in out.report.warnings[0]


def test_damage_is_told(media):
    with DecodePool(DecodeOptions(frames=60, decoder="pyav"), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("damaged.mp4"))))
        report = drain(pool)[-1].report
    assert report.decoded == 59
    assert "frames that build on damaged data: 11 of 59" in report.warnings
