"""Backends by name: what they are asked for and do not have is one line, before anything is written."""

import socket
import sys
from contextlib import contextmanager

import pytest

from camal_rl.comparison import ray_cluster
from camal_rl.comparison.backends import BACKENDS, make_backend
from camal_rl.comparison.local import LocalBackend
from camal_rl.comparison.outcomes import Cells, Ending, Outcome
from camal_rl.comparison.ray_backend import RayBackend
from camal_rl.comparison.worker import DONE, PROGRESS
from tests.command_line import refusal, run_main
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--backend", "rya"], "unknown backend 'rya'; did you mean 'ray'? the backends are local, ray; your own is"),
        (["--address", "auto"], "the backend 'local' has no --address; its options are --jobs"),
        (
            ["--gpus-per-run", "1", "--cpus-per-run", "1"],
            "the backend 'local' has no --gpus-per-run, --cpus-per-run",
        ),
        (
            ["--backend", "ray", "--gpus-per-run", "1.5"],
            "--gpus-per-run must be a fraction of one, such as .25",
        ),
        (["--backend", "ray", "--gpus-per-run", "-1"], "--gpus-per-run must be a fraction of one, such as .25"),
        (["--backend", "ray", "--cpus-per-run", "0"], "--cpus-per-run must be a fraction of one, such as .25"),
        (
            ["--backend", "ray", "--cpus-per-run", "nan"],
            "--cpus-per-run must be a fraction of one, such as .25",
        ),
    ],
)
def test_options_that_mean_nothing_are_one_line(in_tmp, capsys, options, line):
    assert run_main("compare", "toy_grid", *TINY, *options) == 2
    assert line in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


@pytest.fixture
def any_ray(monkeypatch):
    """Have something in the place of Ray: what is refused is refused before it is asked."""
    monkeypatch.setitem(sys.modules, "ray", type(sys)("ray"))
    sys.modules["ray"].is_initialized = lambda: False


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("127.0.0.1:1", "no Ray cluster can be reached at 127.0.0.1:1 (connection refused); `ray start --head` on its"),
        ("nowhere.invalid:6379", "no Ray cluster can be reached at nowhere.invalid:6379 ("),
        ("nowhere", "the address of a Ray cluster is HOST:PORT, as `ray start` prints it, or auto; got 'nowhere'"),
        ("127.0.0.1:x", "the address of a Ray cluster is HOST:PORT"),
        ("127.0.0.1:99999", "the address of a Ray cluster is HOST:PORT"),
        (":6379", "the address of a Ray cluster is HOST:PORT"),
        ("", "the address of a Ray cluster is HOST:PORT"),
        ("ray://127.0.0.1:10001", "this command runs on a machine of the cluster, without Ray's client"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(any_ray, in_tmp, capsys, address, line):
    assert run_main("compare", "toy_grid", *TINY, "--backend", "ray", "--address", address) == 2
    assert line in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


def test_what_listens_and_is_no_cluster_is_one_line(any_ray, in_tmp, capsys, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert run_main("compare", "toy_grid", *TINY, "--backend", "ray", "--address", address) == 2
    assert f"the program at {address} does not answer as a Ray cluster" in refusal(capsys)


def test_a_cluster_that_refuses_this_program_is_one_line(any_ray, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_PROBE", "import sys; sys.exit('RuntimeError: Version mismatch: Ray 1 and 2')")
    with pytest.raises(ConnectionError, match="the Ray cluster at auto cannot be used: RuntimeError: Version mismatch"):
        RayBackend("auto").opened(None).__enter__()


def test_without_ray_the_line_says_what_installs_it(in_tmp, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_main("compare", "toy_grid", *TINY, "--backend", "ray") == 2
    assert "the backend ray needs Ray; install it with: pip install" in refusal(capsys)


def test_machines_that_have_no_room_for_a_run_are_told():
    machines = [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}}]
    ray = type("Ray", (), {"nodes": staticmethod(lambda: machines)})
    ray_cluster.check_room(ray, {"CPU": 4})
    with pytest.raises(ValueError, match=r"has the 1 CPU and 0\.5 GPU that each run needs; they have 4 CPU"):
        ray_cluster.check_room(ray, {"CPU": 1, "GPU": 0.5})


def test_a_backend_of_ones_own_executes_the_runs(in_tmp, capsys, monkeypatch):
    seen = []

    class Own:
        @contextmanager
        def opened(self, folder):
            seen.append(folder.exists())
            try:
                yield lambda runs, *_: seen.append([run.label for run in runs]) or Outcome({}, 2)
            finally:
                seen.append("closed")

    monkeypatch.setattr(BACKENDS, "_entries", dict(BACKENDS._entries))
    BACKENDS.register("own", Own)
    assert run_main("compare", "toy_grid", *TINY, "--seeds", "1", "--backend", "own", "--out", "cmp") == 130
    assert seen == [False, ["ppo seed 0", "camal seed 0"], "closed"]


def test_options_that_are_not_given_are_the_backends_own():
    assert make_backend("local", {"jobs": 3, "address": None}) == LocalBackend(3)
    assert make_backend("ray", {"jobs": None, "gpus_per_run": 0.25}) == RayBackend(gpus_per_run=0.25)


def test_a_run_that_loses_its_machines_is_tried_more_often_than_one_whose_process_dies():
    run = type("Run", (), {"label": "a", "is_finished": lambda self: False})()
    lines, shares = [], []
    cells = Cells([run], lambda *told: shares.append(told), lines.append)
    lost, killed = Ending("was lost", 4, "it continues on another machine"), Ending("was killed")
    for ending in (lost, killed, lost, lost):
        assert cells.waiting.popleft() == 0
        cells.settle(0, (), ending)
    assert cells.failures == {}
    assert lines[1] == "a: its process was killed; it is retried once"
    cells.waiting.popleft()
    cells.settle(0, (), killed)
    assert str(cells.failures[0]) == "its process was killed, again; run the same command to retry"
    again = Cells([run], lambda *told: shares.append(told), lines.append)
    again.settle(0, (DONE,), killed)
    assert shares[-1] == (0, 1.0, "done")
    assert again.failures == {}


def test_a_run_that_is_tried_again_waits_where_it_was_lost():
    run = type("Run", (), {"label": "a", "is_finished": lambda self: False})()
    told = []
    cells = Cells([run], lambda *progress: told.append(progress), lambda line: None)
    cells.waiting.popleft()
    cells.receive(0, (PROGRESS, 0.75, "evaluation"))
    cells.settle(0, (), Ending("was lost"))
    assert told == [(0, 0.75, "evaluation"), (0, 0.75, "waiting")]


def test_nothing_is_tried_again_when_the_comparison_is_being_ended():
    run = type("Run", (), {"label": "a", "is_finished": lambda self: False})()
    cells = Cells([run], lambda *_: None, print)
    cells.waiting.popleft()
    cells.settle(0, (), Ending("was killed"), stops=True)
    assert not cells.waiting
    assert cells.failures == {}
