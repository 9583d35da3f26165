import statistics
import time
from importlib import metadata

import pytest
import torch

from camal_rl import camal_term
from camal_rl.agents.camal_term import CamalTerm
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer
from camal_rl.rl import bench
from camal_rl.rl.bench import BenchPlan, SectionTimer, make_agent, measure, timed_round, train_round
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import load_config
from tests.command_line import refusal, run_main
from tests.conftest import TINY

SMALL = (*TINY, "env.num_envs=4", "algorithm.n_steps=4", "algorithm.batch_size=8")
EVERY = {
    *("simulate", "masks", "policy", "buffer", "forward", "attention", "camal_loss", "backward", "optimizer", "other")
}


def config(*overrides):
    return load_config("toy_grid", (*SMALL, *overrides))


@pytest.fixture
def agent():
    """Return what makes agents whose environments are closed at the end."""
    made = []

    def make(*overrides):
        made.append(make_agent(config(*overrides)))
        return made[-1]

    yield make
    for model in made:
        model.get_env().close()


@pytest.fixture(scope="module")
def warm():
    """Return an agent that has trained for a round, shared by tests that leave it as it was."""
    model = make_agent(config())
    train_round(model)
    yield model
    model.get_env().close()


def split(model):
    timer = SectionTimer(lambda: None)
    started = time.perf_counter()
    timed_round(model, timer)
    return timer.seconds, time.perf_counter() - started


def owners(model):
    return (
        *(model, model.get_env(), model.policy, model.policy.optimizer, model.rollout_buffer),
        *(model.camal_term, torch.autograd, torch.nn.utils),
    )


def state(model):
    """Return what every object whose methods are timed holds of its own, functions only."""
    return [{name: value for name, value in vars(each).items() if callable(value)} for each in owners(model)]


def test_inner_sections_are_taken_from_outer_ones():
    # Begin and end of each section, in order: outer 0, inner 1 to 4, inner 6 to 7, outer ends at 10.
    times = iter([0.0, 1.0, 4.0, 6.0, 7.0, 10.0])
    waits = []
    timer = SectionTimer(lambda: waits.append(None), lambda: next(times))
    with timer.section("outer"):
        with timer.section("inner"):
            pass
        with pytest.raises(KeyError), timer.section("inner"):
            raise KeyError
    assert timer.seconds == {"inner": 4.0, "outer": 6.0}
    assert len(waits) == 6


def test_the_split_of_a_camal_round_is_whole_and_every_section_is_positive(warm):
    seconds, wall = split(warm)
    assert set(seconds) == EVERY == set(bench.SECTIONS)
    assert all(value > 0 for value in seconds.values())
    assert 0.5 * wall < sum(seconds.values()) <= wall


def innermost(env):
    return innermost(env.venv) if hasattr(env, "venv") else env


@pytest.mark.parametrize(
    ("section", "owner", "name"),
    [
        ("simulate", lambda model: innermost(model.get_env()), "step_async"),
        ("simulate", lambda model: innermost(model.get_env()), "step_wait"),
        ("masks", lambda model: innermost(model.get_env()), "segmentation"),
        ("policy", lambda model: model.policy, "forward"),
        ("policy", lambda model: model.policy, "predict_values"),
        ("buffer", lambda model: model.rollout_buffer, "store_observations"),
        ("buffer", lambda model: model.rollout_buffer, "compute_returns_and_advantage"),
        ("forward", lambda model: model, "_ppo_loss"),
        ("attention", lambda model: model.policy, "attention_maps"),
        ("camal_loss", lambda model: camal_term, "zero_maps"),
        ("backward", lambda model: torch.autograd, "backward"),
        ("optimizer", lambda model: model.policy.optimizer, "step"),
        ("other", lambda model: model, "dump_logs"),
    ],
)
def test_time_lost_in_a_part_is_charged_to_its_section(warm, monkeypatch, section, owner, name):
    """Put one nap into what a section calls, longer than a whole round: so much must be found there."""
    place = owner(warm)
    original, naps = getattr(place, name), iter([0.1])

    def slow(*arguments, **keywords):
        time.sleep(next(naps, 0))
        return original(*arguments, **keywords)

    monkeypatch.setattr(place, name, slow)
    seconds, _ = split(warm)
    assert seconds[section] >= 0.1
    assert getattr(place, name) is slow


def test_drawing_minibatches_counts_as_buffer(warm, monkeypatch):
    get, drawn = warm.rollout_buffer.get, []

    def slow(size):
        for batch in get(size):
            time.sleep(0.05)
            drawn.append(len(batch.actions))
            yield batch

    monkeypatch.setattr(warm.rollout_buffer, "get", slow)
    seconds, _ = split(warm)
    assert drawn == [8, 8]
    assert seconds["buffer"] >= 0.1


@pytest.mark.parametrize("overrides", [(), ("env.segmentation=null",)])
def test_weight_0_has_no_attention(agent, overrides):
    model = agent("camal.weight=0", *overrides)
    seconds, _ = split(model)
    assert set(seconds) == EVERY - {"attention", "camal_loss"}


def test_methods_are_the_originals_afterwards(warm):
    before = state(warm)
    split(warm)
    assert state(warm) == before
    assert warm.rollout_buffer.get.__func__ is CamalRolloutBuffer.get


@pytest.mark.parametrize(("owner", "name"), [(CamalTerm, "map_loss"), (CamalRolloutBuffer, "get")])
def test_methods_are_the_originals_after_an_exception(warm, monkeypatch, owner, name):
    before = state(warm)

    def broken(*_arguments, **_keywords):
        raise RuntimeError("in the middle of a round")

    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        split(warm)
    assert state(warm) == before


def test_a_timed_round_trains_as_an_untimed_one(agent):
    plain, timed = agent(), agent()
    for _ in range(2):
        torch.manual_seed(3)
        plain.set_random_seed(3)
        train_round(plain)
        torch.manual_seed(3)
        timed.set_random_seed(3)
        split(timed)
    for name, value in plain.policy.state_dict().items():
        assert torch.equal(value, timed.policy.state_dict()[name]), name


def test_schedules_do_not_switch_the_term_off(agent):
    model = agent("camal.schedule=decay", "camal.schedule_fraction=1", "algorithm.anneal_learning_rate=true")
    for _ in range(2):
        train_round(model)
    before = model.policy.value_net.weight.clone()
    seconds, _ = split(model)
    assert seconds["attention"] > 0
    assert not torch.equal(before, model.policy.value_net.weight)


def test_measure_takes_turns_and_divides_round_by_round(warm, monkeypatch):
    order, seconds = [], iter([9.0, 9.0, 2.0, 1.0, 4.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(
        bench, "train_round", lambda model: order.append("camal" if model.camal.weight else "ppo") or next(seconds)
    )
    monkeypatch.setattr(bench, "timed_round", lambda model, timer: timer.seconds.update(simulate=1.0, other=3.0))
    monkeypatch.setattr(warm.get_env(), "close", lambda: None)
    plan, done = BenchPlan(config(), 3, peer=True), []
    found = measure(plan, warm, done.append)
    assert order == ["camal", "ppo"] * 4
    assert len(done) == plan.total_rounds == 11
    # A round is 4 environments * 4 steps = 16 steps.
    assert found["steps_per_second"] == {"median": 16 / 3, "min": 4, "max": 8, "rounds": [8, 4, 16 / 3]}
    assert found["weight_0"]["steps_per_second"]["rounds"] == [16, 16, 8]
    ratio = found["weight_0"]["agent_over_it"]
    assert (ratio["min"], ratio["median"], ratio["max"]) == (0.25, 0.5, pytest.approx(2 / 3))
    sections = found["split"]["sections"]
    assert sections["simulate"] == {"share": 0.25, "ms_per_1000_steps": pytest.approx(1000 / 48 * 1000)}
    assert list(sections) == ["simulate", "other"]


def test_environments_are_closed_when_a_round_fails(warm, monkeypatch):
    closed = []
    monkeypatch.setattr(warm.get_env(), "close", lambda: closed.append(True))
    monkeypatch.setattr(bench, "timed_round", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure(BenchPlan(config(), 1, peer=False), warm, lambda _: None)
    assert closed == [True]


def test_a_weight_of_0_has_no_peer():
    asked, weightless = (BenchPlan(config(f"camal.weight={weight}"), 3, peer=True) for weight in (0.1, 0))
    assert (asked.with_peer, asked.total_rounds) == (True, 11)
    assert (weightless.with_peer, weightless.total_rounds) == (False, 7)


def test_the_command_prints_tables_and_writes_only_the_file_asked_for(in_tmp, capsys):
    assert run_main("bench", "toy_grid", *SMALL, "--rounds", "2", "--out", "speed.json") == 0
    out = capsys.readouterr().out
    for text in ("camal.weight 0.1", "camal.weight 0 ", "ratio", "attention maps", "separate rounds", "peak memory"):
        assert text in out
    assert [path.name for path in in_tmp.iterdir()] == ["speed.json"]
    found = read_json(in_tmp / "speed.json")
    sections = found["split"]["sections"]
    assert set(sections) == EVERY
    assert sum(row["share"] for row in sections.values()) == pytest.approx(1)
    # Milliseconds per 1,000 steps are microseconds per step: 2 rounds of 16 steps.
    total = sum(row["ms_per_1000_steps"] for row in sections.values())
    assert total * 32 == pytest.approx(found["split"]["seconds"] * 1e6)
    speed = found["steps_per_second"]
    assert speed["median"] == statistics.median(speed["rounds"])
    assert len(found["weight_0"]["agent_over_it"]["rounds"]) == len(speed["rounds"]) == 2
    assert found["precision"] == "float32"
    assert found["threads"] == 1
    # An interpreter with torch loaded takes more than 100 MiB, and this one less than 100 GiB.
    assert 100 < found["peak_memory_mib"]["process"] < 100_000
    assert found["versions"]["torch"] == metadata.version("torch")


def test_nothing_is_written_and_no_ratio_is_shown_without_a_peer(in_tmp, capsys):
    assert run_main("bench", "toy_grid", *SMALL, "--rounds", "1", "--no-peer") == 0
    assert "ratio" not in capsys.readouterr().out
    assert list(in_tmp.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy_gird"], "did you mean 'toy_grid'"),
        (["supervised/spurious_shapes"], "use camal-rl fit"),
        (["toy_grid", "camal.wieght=1"], "unknown key 'camal.wieght'"),
        (["toy_grid", "env.id=toy_grid/defualt"], "did you mean 'toy_grid/default'"),
        (["toy_grid", "env.relevant=[gaol]"], "unknown relevant class 'gaol'"),
        (["toy_grid", "--rounds", "0"], "Invalid value for '--rounds'"),
        (["toy_grid", "--out", "speed.txt"], "must be a file name ending in .json"),
        (["toy_grid", "--out", "nowhere/speed.json"], "no folder nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(in_tmp, capsys, arguments, message):
    assert run_main("bench", *arguments) == 2
    assert message in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="only where there is no CUDA device")
def test_a_missing_gpu_is_told(in_tmp, capsys):
    assert run_main("bench", "toy_grid", "device=cuda") == 2
    assert "torch finds no CUDA device" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_is_waited_for_only_while_the_split_is_measured(monkeypatch):
    waits, synchronize = [], torch.cuda.synchronize
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(device) or synchronize(device))
    seen = []
    plan = BenchPlan(config("device=cuda"), 1, peer=True)
    found = measure(plan, make_agent(plan.config), lambda name: seen.append((name, len(waits))))
    assert [count for name, count in seen if not name.startswith("split")] == [0, 0, 0, 0]
    assert waits
    assert found["device"] == "cuda"
    assert found["peak_memory_mib"]["cuda"] > 0
