"""What a training shows: one line that fits a terminal, lines in a log, nothing with `none`."""

import errno
import io
import json
import os
import re
import sys

import pytest
from rich.console import Console

from deepscan.cli import progress as module
from deepscan.cli.train_view import TrainView
from deepscan.training.loop import StepReport
from tests.command import SAMPLES
from tests.terminal import at_a_terminal

CONTROL = r"\x1b\[\??(\d*)(?:;\d+)*([A-Za-z])"
#: A run long and fast enough that every figure is a wide one.
WIDE = {"epochs": 100, "steps": 4104, "loss": 0.73714, "rate": 1234.4, "left": 35000.0}

TRAINING = """
import os, sys, time
os.close(os.open(os.ttyname(2), os.O_RDWR))
from deepscan.cli.train_view import TrainView
from types import SimpleNamespace as Step
figures = {{"epoch": 1, "epochs": 2, "steps": 1000, "loss": 0.7, "rate": 20.0, "left": 6600.0, "row": None}}
try:
    with TrainView("auto") as view:
        view.crops(1, 2)
        view.crops(2, 2)
        for at in range(1, 1000):
            view.step(Step(step=at, **figures))
            time.sleep(0.02)
            {then}
except BaseException as error:
    sys.stderr.write(f"error: {{type(error).__name__}}\\n")
"""


class Clock:
    """A clock that tests move forward."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def step(at, row=None, epoch=1, **figures):
    given = {"epochs": 6, "steps": 10, "loss": 0.7371, "rate": 20.2, "left": 6600.0, **figures}
    return StepReport(epoch=epoch, step=at, row=row, **given)


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=width)


def log():
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def looks(console):
    """Every line that was drawn, in order, without colours, bar and cursor movements."""
    drawn = re.split(r"[\r\n]", re.sub(CONTROL, "", console.file.getvalue()))
    return [line for line in drawn if line.strip()]


def words(line):
    return " ".join(line.replace("\u2501", " ").replace("\u2578", " ").replace("\u257a", " ").split())


def run(code, **at):
    """Run Python at a terminal, with Ctrl-C enabled even if a background shell ignores it."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    ran = at_a_terminal("-c", heard + code, piped=True, **at)
    return ran.out, ran.screen


def screen(shown, columns=80):
    """The lines on a terminal after this output, without empty ones at the end."""
    lines, row, column = [""], 0, 0
    for count, control, letter in re.findall(f"{CONTROL}|(.)", shown, re.DOTALL):
        if control == "A":
            row = max(0, row - int(count or 1))
        elif control == "K":
            lines[row] = ""
        elif letter == "\r":
            column = 0
        elif letter:
            if letter == "\n" or column == columns:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            if letter != "\n":
                lines[row] = lines[row].ljust(column)[:column] + letter + lines[row][column + 1 :]
                column += 1
    return [line.rstrip() for line in "\n".join(lines).rstrip().split("\n")]


def test_a_terminal_shows_all_values_on_one_line(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        view.step(step(1))
        assert words(looks(console)[-1]) == "training epoch 1/6 loss 0.7371 20 images/s 110 min left"
        view.step(step(10, {"auc": 0.91234}))
        clock.now += 1
        view.step(step(1, epoch=2, left=30.0, rate=3.14))
        line = looks(console)[-1]
    assert words(line) == "training epoch 2/6 loss 0.7371 3.1 images/s AUC 0.9123 30 s left"
    assert "\u2501" in line


@pytest.mark.parametrize("width", [80, 100])
def test_the_widest_values_fit(clock, width):
    console = terminal(width)
    with TrainView("auto", console) as view:
        view.step(step(4104, {"auc": 0.91234}, epoch=99, **WIDE))
        view.step(step(4104, epoch=100, **WIDE))
        validating = looks(console)[-1]
        clock.now += 1
        view.step(step(1, epoch=100, **WIDE))
        training = looks(console)[-1]
    figures = "epoch 100/100 loss 0.7371 1234 images/s AUC 0.9123 583 min left"
    assert [words(validating), words(training)] == [f"validating {figures}", f"training {figures}"]
    assert max(map(len, looks(console))) <= width


def test_a_narrow_terminal_keeps_epoch_and_time_left(clock):
    console = terminal(45)
    with TrainView("auto", console) as view:
        view.step(step(10, {"auc": 0.9}))
    assert words(looks(console)[0]) == "training epoch 1/6 110 min left"
    assert max(map(len, looks(console))) <= 45


def test_only_reported_tasks_are_shown(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        assert console.file.getvalue() == ""
        view.step(step(1))
        view.step(step(2))
    assert {line.split()[0] for line in looks(console)} == {"training"}
    with TrainView("auto", terminal()) as view:
        pass
    assert view._console.file.getvalue() == ""


def test_a_finished_task_disappears(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        for work in (view.crops, view.features):
            work(100, 300)
            clock.now += 2
            work(200, 300)
            work(300, 300)
        assert screen(console.file.getvalue()) == [""]
        view.step(step(1))
        assert len(screen(console.file.getvalue())) == 1
    shown = [words(line) for line in looks(console)]
    assert "crops 200/300 50 images/s 2 s left" in shown
    assert "features 200/300 50 images/s 2 s left" in shown
    assert [line.split()[0] for line in shown] == sorted(line.split()[0] for line in shown)


def test_the_rate_ignores_items_done_before_the_first_report(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        view.crops(9000, 9200)
        clock.now += 10
        view.crops(9100, 9200)
        line = looks(console)[-1]
    assert words(line) == "crops 9100/9200 10 images/s 10 s left"


def test_it_is_drawn_at_most_ten_times_per_second(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        view.step(step(1, steps=1001))
        before = len(looks(console))
        for at in range(2, 1001):
            clock.now += 0.001
            view.step(step(at, steps=1001))
        assert 5 <= len(looks(console)) - before <= 10


def test_validation_is_shown_at_once(clock):
    console = terminal()
    with TrainView("auto", console) as view:
        view.step(step(9))
        view.step(step(10))
        assert looks(console)[-1].startswith("validating ")
        view.step(step(10, {"auc": 0.9}))
        assert looks(console)[-1].startswith("training ")


@pytest.mark.parametrize(("style", "console"), [("plain", terminal), ("plain", log), ("auto", log)])
def test_a_log_gets_a_line_every_ten_seconds_and_at_milestones(clock, style, console):
    target = console()
    with TrainView(style, target) as view:
        view.crops(32, 64)
        clock.now += 4
        view.crops(64, 64)
        for at in range(1, 11):
            clock.now += 3
            view.step(step(at))
        view.step(step(10, {"auc": 0.9}))
        clock.now += 10
        view.step(step(1, epoch=2))
    assert target.file.getvalue().splitlines() == [
        "crops 64/64 8.0 images/s 0 s left",
        "training 4/60 epoch 1/6 loss 0.7371 20 images/s 110 min left",
        "training 8/60 epoch 1/6 loss 0.7371 20 images/s 110 min left",
        "training 10/60 epoch 1/6 loss 0.7371 20 images/s AUC 0.9000 110 min left",
        "training 11/60 epoch 2/6 loss 0.7371 20 images/s 110 min left",
    ]


@pytest.mark.parametrize("console", [terminal, log])
def test_none_writes_nothing(clock, console):
    target = console()
    with TrainView("none", target) as view:
        view.crops(64, 64)
        view.features(64, 64)
        clock.now += 20
        view.step(step(10, {"auc": 0.9}))
    assert target.file.getvalue() == ""


@pytest.mark.parametrize(
    ("left", "said"),
    [(0.2, "0 s"), (40.4, "40 s"), (60.0, "1 min"), (35999.0, "600 min"), (45000.0, "12.5 h")],
)
def test_the_time_left_has_a_suitable_unit(left, said):
    assert module.time_left(left) == f"{said} left"


@pytest.mark.parametrize("writes", range(8))
@pytest.mark.parametrize(("style", "error"), [("auto", errno.EIO), ("plain", errno.EPIPE)])
def test_a_closed_stream_does_not_end_the_training(clock, style, error, writes):
    class Closed(io.StringIO):
        left = writes

        def write(self, text):
            self.left -= 1
            if self.left < 0:
                raise OSError(error, os.strerror(error))
            return len(text)

    before = sys.stderr
    console = Console(file=Closed(), force_terminal=True, force_interactive=True, width=80)
    with TrainView(style, console) as view:
        for epoch in range(1, 9):
            view.step(step(10, {"auc": 0.9}, epoch=epoch, epochs=8))
    assert console.file.left < 0
    assert sys.stderr is before


@pytest.mark.parametrize("columns", [80, 60])
def test_only_the_error_remains_on_the_terminal(columns):
    _, shown = run(TRAINING.format(then="if at == 10: raise ValueError"), columns=columns)
    assert "epoch 1/2" in shown
    assert screen(shown, columns) == ["error: ValueError"]
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_after_ctrl_c_only_the_error_remains():
    _, shown = run(TRAINING.format(then="pass"), press=b"\x03", once=b"epoch 1/2")
    assert "^C" in shown
    assert screen(shown) == ["error: KeyboardInterrupt"]
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_output_during_progress_stays_on_its_stream():
    then = (
        "if at == 5: print('data'); print('a warning', file=sys.stderr)\n            if at == 9: sys.exit()"
    )
    out, shown = run(TRAINING.format(then=then))
    assert out == "data\n"
    assert screen(shown) == ["a warning", "error: SystemExit"]


@pytest.mark.parametrize(("no_color", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_no_color_removes_colour(monkeypatch, clock, no_color, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in no_color.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    console = terminal()
    with TrainView("auto", console) as view:
        view.step(step(5))
    assert bool(re.search(r"\x1b\[(?:\d+;)*[39]\d", console.file.getvalue())) == coloured


def test_records_go_to_a_pipe_while_progress_is_shown():
    arguments = ["scan", str(SAMPLES / "no_face.mp4"), "--frames", "4"]
    out, shown = run(f"from deepscan.cli import main; main({arguments!r})")
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["no_face"]
    assert '"status"' not in shown
