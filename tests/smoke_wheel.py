"""Checks an installed wheel: every room imports from it, configurations ship with it, a few steps train.

Run as ``python tests/smoke_wheel.py SITE`` with SITE, the folder the wheel was installed into, on PYTHONPATH.
"""

import sys
from pathlib import Path


def main() -> None:
    """Import every room from SITE, read a shipped configuration, train for a few steps."""
    site = Path(sys.argv[1]).resolve()
    sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in str(finder)]

    import camal_rl
    from camal_rl import agents, configs, envs

    for module in (camal_rl, agents, configs, envs):
        origin = Path(str(module.__file__)).resolve()
        if site not in origin.parents:
            raise SystemExit(f"{module.__name__} comes from {origin}, not from the wheel")
    shipped = sorted(path.name for path in Path(str(configs.__file__)).parent.rglob("*.yaml"))
    package = Path(str(camal_rl.__file__)).parent
    data = [package / "py.typed", package / "comparison" / "report" / "templates" / "report.html.j2"]
    if "demo.yaml" not in shipped or not all(file.exists() for file in data):
        raise SystemExit(f"the wheel lacks data files; it has {shipped}")

    env = envs.make_vec("toy_grid/default", num_envs=2, seed=0)
    model = agents.CAMALPPO("CamPolicy", env, n_steps=8, batch_size=16, policy_kwargs={"encoder": "compact"})
    model.learn(16)
    print(f"wheel: camal_rl {camal_rl.__version__} imports, ships {len(shipped)} configurations and trains")


if __name__ == "__main__":
    main()
