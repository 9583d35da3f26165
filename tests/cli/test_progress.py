import sys
from types import SimpleNamespace

import pytest

from camal_rl.cli import progress
from camal_rl.cli.cells import execute_shown
from camal_rl.cli.progress import Mode, StepLines, Ticker, duration, mode, shown
from tests.command_line import run_main
from tests.conftest import TINY


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def always_due(monkeypatch):
    monkeypatch.setattr(progress.Ticker, "due", lambda self, share: True)


def test_a_line_is_due_at_every_twentieth_or_after_half_a_minute_but_not_all_the_time(clock):
    ticker = Ticker(clock)
    due = []
    for seconds, share in [(1, 0.5), (2, 0.5), (1, 0.9), (3, 0.93), (5, 0.95), (29, 0.96), (1, 0.961)]:
        clock.now += seconds
        due.append(ticker.due(share))
    #       too soon; .5 more; too soon; .43 more; .02 more; 34 s later; just told
    assert due == [False, True, False, True, False, True, False]


def test_lines_tell_steps_speed_return_and_what_is_left(clock):
    lines = []
    told = StepLines("training", Ticker(clock), lines.append)
    told.report(0, 8192)
    clock.now += 8
    told.report(4096, 8192, "mean return 0.25")
    clock.now += 8
    told.report(8200, 8192, "mean return 0.50")
    assert lines == [
        "training: 4,096 of 8,192 steps (50%), 512 steps/s, mean return 0.25, 8 s left",
        "training: 8,200 of 8,200 steps (100%), 512 steps/s, mean return 0.50",
    ]


def test_steps_from_before_resuming_count_for_no_speed(clock):
    lines = []
    told = StepLines("training", Ticker(clock), lines.append)
    told.report(900, 1000)
    clock.now += 50
    told.report(950, 1000)
    assert lines == ["training: 950 of 1,000 steps (95%), 1.0 steps/s, 50 s left"]


def test_runs_that_were_done_before_count_for_no_speed(clock, monkeypatch, always_due, capsys):
    monkeypatch.setattr(progress, "Ticker", lambda: Ticker(clock))
    seconds = iter([0, 0, 10, 30, 20])

    def execute(runs, command, on_progress, tell):
        # Two of four runs are done before, the third goes on at a half and does a quarter in half a minute.
        for index, share in [(0, 1.0), (1, 1.0), (2, 0.5), (2, 0.75), (3, 0.0)]:
            clock.now += next(seconds)
            on_progress(index, share, "training")

    execute_shown(execute, [SimpleNamespace(label=f"ppo seed {seed}") for seed in range(4)], None)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" left")[0] if " left" in line else "" for line in lines] == [
        "",
        "",
        "",
        "69% of 4 runs, 3 min 20 s",
        "69% of 4 runs, 5 min 0 s",
    ]


def test_durations_are_words():
    assert [duration(seconds) for seconds in (7.6, 200, 7500)] == ["8 s", "3 min 20 s", "2 h 5 min"]


def test_a_bar_needs_a_terminal_and_no_progress_is_none(monkeypatch):
    assert [mode(choice) for choice in (None, True, False)] == [Mode.LINES, Mode.LINES, Mode.NONE]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert [mode(choice) for choice in (None, True, False)] == [Mode.BAR, Mode.BAR, Mode.NONE]


def test_counted_work_tells_what_is_done(always_due, capsys):
    with shown(None, "evaluation") as update:
        update("returns on train", 1, 4)
    assert capsys.readouterr().err.startswith("evaluation: 1 of 4, returns on train, ")
    with shown(False, "evaluation") as update:
        update("returns on train", 1, 4)
    assert capsys.readouterr().err == ""


def test_train_and_evaluate_speak_where_there_is_no_terminal(in_tmp, capsys, always_due):
    assert run_main("train", "toy_grid", *TINY, "log.overlay_every=0", "--run-dir", "run") == 0
    err = capsys.readouterr().err
    assert "training: 128 of 256 steps (50%)" in err
    assert "mean return" in err
    assert run_main("evaluate", "run", "--episodes", "4", "--frames", "2") == 0
    assert "returns on held_out, sampled actions" in capsys.readouterr().err.replace("stochastic", "sampled")
    assert run_main("evaluate", "run", "--episodes", "4", "--frames", "0", "--no-progress") == 0
    assert capsys.readouterr().err == ""
