"""The progress bar of Python callers."""

from deepscan.progress import progress_bar


def test_it_counts_up_to_the_end_on_stderr(capsys):
    on_progress = progress_bar("cutting faces", "face")
    for done in (0, 3, 7):
        on_progress(done, 7)
    said = capsys.readouterr()
    assert "cutting faces: 100%" in said.err and "7/7" in said.err and "face/s" in said.err
    assert said.out == ""


def test_it_begins_again_after_the_end(capsys):
    on_progress = progress_bar("again")
    for total in (2, 5):
        on_progress(total, total)
    said = capsys.readouterr().err
    assert "2/2" in said and "5/5" in said


def test_a_total_that_grows_is_followed(capsys):
    on_progress = progress_bar("growing")
    on_progress(1, 2)
    on_progress(2, 4)
    on_progress(4, 4)
    assert "4/4" in capsys.readouterr().err
