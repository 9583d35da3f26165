"""Comparisons on a real Ray cluster of two machines' processes: what is killed goes on, and nothing is run twice."""

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager

import psutil
import pytest

from camal_rl.comparison import ray_backend, ray_worker
from camal_rl.comparison.outcomes import ATTEMPTS
from camal_rl.comparison.plan import PlannedRun, plan_runs
from camal_rl.comparison.ray_backend import RayBackend, ending_of
from camal_rl.comparison.ray_cluster import import_ray
from camal_rl.comparison.ray_worker import COPY, execute_job
from camal_rl.comparison.worker import execute_run
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.stopping import stopping
from tests.command_line import refusal, run_main
from tests.conftest import TINY

pytest.importorskip("ray")

SMALL = (
    *TINY, "total_timesteps=640", "log.checkpoint_every=128", "log.overlay_every=0", "log.held_out_every=0",
    "policy.encoder=nature", "evaluation.episodes=4", "evaluation.frames=4",
)  # fmt: skip
METHODS = ("ppo", "camal")


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of two nodes with one CPU each."""
    ray = import_ray()
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp()
    os.environ |= {"RAY_TMPDIR": folder, "RAY_raylet_start_wait_time_s": "300"}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()
    del os.environ["RAY_TMPDIR"]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return the folder of the same runs, executed one after the other in this process."""
    out = tmp_path_factory.mktemp("alone")
    for planned in planned_in(out):
        execute_run(planned, [], lambda _: None)
    return out


def planned_in(out, seeds=2):
    return plan_runs(load_config("toy_grid", SMALL), METHODS, seeds, out)


def measured(out):
    return {path.parent.name: json.loads(path.read_text())["results"] for path in sorted(out.glob("*/metrics.json"))}


@contextmanager
def meanwhile(action):
    """Do something in another thread during the block."""
    failed = []

    def act():
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()
    assert failed == []


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class PutsAndWaits:
    """A mailbox that sends a message at once, and comes back when the run may go on: no run ends before its time."""

    def __init__(self, mailbox, is_to_wait, may_go_on):
        self.mailbox, self.is_to_wait, self.may_go_on = mailbox, is_to_wait, may_go_on
        self.put = self
        ray_worker.SECONDS_BETWEEN_PROGRESS = 0  # of this process alone, which ends with its run

    def remote(self, number, message):
        self.mailbox.put.remote(number, message)
        if self.is_to_wait(message):
            wait_until(self.may_go_on)


def wait_for_ctrl_c(job, mailbox):
    """Execute a job that, once it has sent a copy of its files, goes on when it is to stop."""

    def is_to_stop():
        with stopping() as request:
            return request()

    return execute_job(job, PutsAndWaits(mailbox, lambda message: message[0] == COPY, is_to_stop))


def wait_for_go(job, mailbox):
    """Execute a job that, once it has a checkpoint, goes on when there is a file ``go`` beside the comparison."""
    folder = job.planned.folder
    may_go_on = (folder.path.parent.parent / "go").exists
    return execute_job(job, PutsAndWaits(mailbox, lambda _: checkpoint_folders(folder.checkpoints), may_go_on))


def under_way(out):
    """Return the runs that have a checkpoint and are not trained to the end."""
    folders = [RunFolder(path) for path in out.iterdir() if path.is_dir()]
    return [each.path.name for each in folders if checkpoint_folders(each.checkpoints) and not each.train_file.exists()]


def test_gpus_that_the_cluster_does_not_have_are_refused_in_one_line(cluster, in_tmp, capsys):
    arguments = ("--backend", "ray", "--address", cluster.address, "--gpus-per-run", ".25")
    assert run_main("compare", "toy_grid", *SMALL, *arguments) == 2
    assert (
        "no machine of the Ray cluster has the 1 CPU and 0.25 GPU that each run needs; they have 1 CPU and 0 GPU"
        in (refusal(capsys))
    )
    assert list(in_tmp.iterdir()) == []


class Dies(PlannedRun):
    """A run whose process is killed, and whose driver asks nothing of it."""

    def is_finished(self):
        return False

    def is_trained(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_again_fails_in_one_line(cluster, tmp_path):
    planned, _ = planned_in(tmp_path, seeds=1)
    dies, lines = Dies(planned.method, planned.seed, planned.config, planned.folder), []
    with RayBackend(cluster.address).opened(tmp_path) as execute:
        failures, number = execute([dies], [], lambda *_: None, lines.append)
    assert number is None
    how = "crashed or was killed, as the system does when memory runs out"
    told = [(index, failure.exit_code, str(failure)) for index, failure in failures.items()]
    assert told == [(0, 1, f"its process {how}, again; run the same command to retry")]
    assert lines == [f"ppo seed 0: its process {how}; it is retried once"]


def test_files_come_back_from_machines_that_do_not_see_the_folder(cluster, alone, tmp_path, monkeypatch):
    hidden = ray_backend.Token
    monkeypatch.setattr(ray_backend, "Token", lambda file, text: hidden(file.with_name("not-there"), text))
    monkeypatch.setattr(ray_backend, "write_text", lambda *_: None)
    planned, _ = planned_in(tmp_path, seeds=1)

    def press_ctrl_c():
        wait_until(lambda: under_way(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(ray_backend, "execute_job", wait_for_ctrl_c)
        with RayBackend(cluster.address).opened(tmp_path) as execute, meanwhile(press_ctrl_c):
            failures, number = execute([planned], ["camal-rl", "compare"], lambda *_: None, print)
    assert (failures, number) == ({}, signal.SIGINT)
    assert planned.folder.training()["interrupted"]
    steps = planned.folder.training()["timesteps"]
    assert 0 < steps < 640
    with RayBackend(cluster.address).opened(tmp_path) as execute:
        assert execute([planned], ["again"], lambda *_: None, print) == ({}, None)
    assert measured(tmp_path)["ppo-seed0"] == measured(alone)["ppo-seed0"]
    assert [each["step"] for each in read_json(planned.folder.provenance_file)["resumed"]] == [steps]
    assert [path.name for path in tmp_path.iterdir()] == ["ppo-seed0"]


def test_a_machine_that_is_killed_loses_nothing_and_nothing_is_run_twice(cluster, alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_backend, "execute_job", wait_for_go)
    out = tmp_path / "cmp"
    (second,) = cluster.worker_nodes
    interrupted = []

    def kill_the_second_machine():
        wait_until(lambda: out.is_dir() and len(under_way(out)) == 2)
        processes = psutil.Process(second.all_processes["raylet"][0].process.pid)
        workers = processes.children()
        interrupted.extend(under_way(out))
        for each in (processes, *workers):
            each.kill()
        cluster.remove_node(second, allow_graceful=False)
        (tmp_path / "go").touch()

    arguments = ("--methods", ",".join(METHODS), "--seeds", "2", "--out", str(out), "--no-progress")
    with meanwhile(kill_the_second_machine):
        code = run_main("compare", "toy_grid", *SMALL, *arguments, "--backend", "ray", "--address", cluster.address)
    out_text, err = capsys.readouterr()
    told = err.splitlines()
    assert "raylet" not in out_text
    assert code == 0, told
    assert len(told) == 1
    assert told[0].endswith("its process was lost with its machine; it continues on another machine")
    assert measured(out) == measured(alone)
    records = {path.parent.name: read_json(path) for path in sorted(out.glob("*/provenance.json"))}
    starts = Counter({name: len(record.get("resumed", ())) for name, record in records.items()})
    assert sum(starts.values()) == 1, "only the run of that machine was started again"
    (name,) = [name for name, count in starts.items() if count]
    assert name in interrupted
    assert records[name]["resumed"][0]["step"] >= 128
    assert not list(out.glob(".partial-*"))


def test_a_process_that_ray_ends_for_want_of_memory_is_told_as_such():
    ray = import_ray()
    last, ending = ending_of(ray.exceptions.OutOfMemoryError("Memory on the node\nwas low"), ray.exceptions)
    assert (last, ending.attempts) == ((), ATTEMPTS)
    assert ending.how == "was ended by Ray, since the memory of its machine ran out"
