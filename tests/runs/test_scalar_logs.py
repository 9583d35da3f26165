import json
import sys
from types import SimpleNamespace

import pytest

from camal_rl.extras import install_command
from camal_rl.failures import RunFailure
from camal_rl.runs.csv_log import CsvLog, read_table
from camal_rl.runs.scalar_logs import LOGGERS, ScalarLog, check_loggers, check_usable, logging_to
from camal_rl.runs.wandb_log import WandbLog

ROWS = [(10, {"a": 1.5}), (10, {"b": 2}), (20, {"a": 0.1, "c": -1e-9})]
TABLE = "step,a,b,c\n10,1.5,2,\n20,0.1,,-1e-09\n"


def write(log, rows=ROWS):
    for step, scalars in rows:
        log.write(scalars, step)
    return log


# The table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_step_and_a_column_for_each_figure(tmp_path):
    log = write(CsvLog(tmp_path, {}, 0))
    assert log.file == tmp_path / "progress.csv"
    assert log.file.read_text() == TABLE


@pytest.mark.parametrize("step", [10, 15, 20, 25])
def test_the_table_goes_on_from_a_step_without_gap_or_overlap(tmp_path, step):
    write(CsvLog(tmp_path, {}, 0))
    later = [row for row in ROWS if row[0] > step]
    resumed = write(CsvLog(tmp_path, {}, step), later)
    assert resumed.file.read_text() == TABLE
    write(resumed, [(20, {"b": 7}), (30, {"d, e": 1})])
    assert read_table(resumed.file)[1][1:] == [
        {"step": "20", "a": "0.1", "b": "7", "c": "-1e-09", "d, e": ""},
        {"step": "30", "a": "", "b": "", "c": "", "d, e": "1"},
    ]


@pytest.mark.parametrize(
    "left", ["20,0.1,,-1e-0", "20,0.1\n", "20,0.1,,-1e-09\0\0\n", "\0\0\0", "x,1,1,1\n20,0.1,,-1e-09\n"]
)
def test_what_a_killed_program_left_half_written_is_cut_off(tmp_path, left):
    head = "step,a,b,c\n10,1.5,2,\n"
    (tmp_path / "progress.csv").write_text(head + left)
    assert write(CsvLog(tmp_path, {}, 15), ROWS[2:]).file.read_text() == TABLE


@pytest.mark.parametrize("former", [None, "", "\0\0\0\0", "no table"])
def test_a_table_that_is_gone_or_begun_anew_starts_with_its_header(tmp_path, former):
    if former is not None:
        (tmp_path / "progress.csv").write_text(former)
    assert write(CsvLog(tmp_path, {}, 5)).file.read_text() == TABLE
    assert CsvLog(tmp_path, {}, 0).file.read_text() == "step\n"


# Weights & Biases ---------------------------------------------------------------------------------------------------


class FakeRun:
    def __init__(self, arguments):
        self.arguments, self.id, self.logged, self.finished = arguments, arguments["id"] or "new", [], False

    def log(self, data, step=None, commit=None):
        assert not self.finished
        self.logged += [(step, data)] if data else []

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """Return a package that keeps the runs that it was asked for."""
    runs = []

    def init(**arguments):
        runs.append(FakeRun(arguments))
        return runs[-1]

    class Error(Exception):
        pass

    fake = SimpleNamespace(init=init, runs=runs, login=lambda: True, Settings=dict, errors=SimpleNamespace(Error=Error))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


def test_a_run_has_the_name_of_its_folder_and_its_settings(wandb, tmp_path, monkeypatch):
    folder = tmp_path / "toy_grid" / "camal-seed1"
    folder.mkdir(parents=True)
    write(WandbLog(folder, {"camal": {"weight": 0.1}, "seed": 1}, 0)).close()
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    WandbLog(folder, {}, 0)
    first, second = (run.arguments for run in wandb.runs)
    assert (first["project"], first["group"], first["name"]) == ("camal-rl", "toy_grid", "camal-seed1")
    assert (first["dir"], first["config"]) == (str(folder), {"camal.weight": 0.1, "seed": 1})
    assert (first["id"], second["id"], second["project"]) == (None, None, "mine")
    assert (wandb.runs[0].logged, wandb.runs[0].finished) == (ROWS, True)


def test_a_resumed_run_is_the_same_and_sends_no_step_twice(wandb, tmp_path):
    log = write(WandbLog(tmp_path, {}, 0))
    log.flush()
    write(log, [(30, {"a": 3}), (40, {"a": 4})])  # killed: of step 40 more might have come
    resumed = WandbLog(tmp_path, {}, 20)
    write(resumed, [(30, {"a": 3}), (40, {"a": 4}), (40, {"b": 5}), (50, {"a": 5})])
    resumed.close()
    assert (wandb.runs[1].arguments["id"], wandb.runs[1].arguments["resume"]) == ("new", "allow")
    assert wandb.runs[1].logged == [(40, {"a": 4}), (40, {"b": 5}), (50, {"a": 5})]
    assert json.loads((tmp_path / "wandb.json").read_text()) == {"id": "new", "step": 50}


def test_a_run_whose_id_is_lost_goes_on_as_another(wandb, tmp_path):
    (tmp_path / "wandb.json").write_text('{"id"')
    assert write(WandbLog(tmp_path, {}, 5)).run.logged == ROWS
    assert wandb.runs[0].arguments["id"] is None


def test_without_the_package_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="wandb is not installed; install it with: pip install") as found:
        check_usable(["csv", "wandb"])
    assert install_command("wandb") in str(found.value)


def test_without_an_account_the_message_says_what_to_do(wandb, monkeypatch, tmp_path):
    def refused(**_):
        raise wandb.errors.Error("No API key\nconfigured.")

    monkeypatch.setattr(wandb, "login", refused)
    with pytest.raises(ValueError, match="log in with `wandb login`, or set WANDB_MODE=offline"):
        check_usable(["wandb"])
    monkeypatch.setattr(wandb, "init", refused)
    with pytest.raises(RunFailure, match="No API key configured"):
        WandbLog(tmp_path, {}, 0)
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_usable(["wandb"])


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Let the real package write into the run's folder alone."""
    pytest.importorskip("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_real_package_writes_into_the_run_folder_when_it_is_offline(offline, tmp_path, capfd):
    folder = tmp_path / "run"
    folder.mkdir()
    check_usable(["wandb"])
    log = write(WandbLog(folder, {"seed": 3}, 0), [(10, {"rollout/figure": 1.0})])
    log.flush()
    log.close()
    (written,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert b"rollout/figure" in written.read_bytes()
    assert json.loads((folder / "wandb.json").read_text()) == {"id": log.run.id, "step": 10}
    assert capfd.readouterr() == ("", "")


# Loggers by name ----------------------------------------------------------------------------------------------------


class Kept(ScalarLog):
    """Keeps what it is told."""

    def __init__(self, folder, settings, step):
        super().__init__(folder, settings, step)
        self.told, self.closed = [], False

    def write(self, scalars, step):
        self.told.append((step, dict(scalars)))

    def close(self):
        self.closed = True


class Fails(ScalarLog):
    def __init__(self, *_):
        raise RunFailure("it fails")


def test_loggers_are_found_by_name_and_by_path_and_closed_whatever_happens(tmp_path):
    path = f"{__name__}:Kept"
    check_loggers([path, "csv"])
    logs = {}

    def fail(opened):
        logs.update(opened)
        raise RuntimeError

    with pytest.raises(RuntimeError), logging_to([path, "csv"], tmp_path, {"seed": 1}, 7) as opened:
        fail(opened)
    assert list(logs) == [path, "csv"]
    kept = logs[path]
    assert (kept.folder, kept.settings, kept.first_step, kept.closed) == (tmp_path, {"seed": 1}, 7, True)


def test_loggers_that_were_opened_are_closed_where_the_next_one_fails(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(CsvLog, "close", lambda self: closed.append(self))
    with pytest.raises(RunFailure), logging_to(["csv", f"{__name__}:Fails"], tmp_path, {}, 0):
        pass
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["wandbb"], r"log\.loggers: unknown logger 'wandbb'; did you mean 'wandb'\?"),
        (["tensorboard", "csv"], "always written; remove tensorboard"),
        (["csv", "csv"], "each logger once"),
        (["json:dumps"], "must be a class derived from camal_rl.runs.scalar_logs.ScalarLog"),
    ],
)
def test_other_names_are_refused_in_one_line(names, message):
    with pytest.raises(ValueError, match=message):
        check_loggers(names)


def test_every_logger_that_ships_is_one():
    assert all(issubclass(LOGGERS.find(name), ScalarLog) for name in LOGGERS)
