"""Prints the oldest supported version of every requirement in setup.cfg, as constraints for pip.

python tests/lowest_versions.py > lowest.txt && pip install -c lowest.txt .
"""

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

LOWER_BOUND = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?>=(?P<version>[\w.]+)")
# Its older builds for Linux bring gigabytes of CUDA libraries along.
AS_PINNED = "torch"


def lowest(requirements: str) -> Iterator[str]:
    """Yield ``name==version`` for each line with a lower bound."""
    for line in requirements.splitlines():
        bound = LOWER_BOUND.match(line)
        if bound is not None and bound["name"] != AS_PINNED:
            yield f"{bound['name']}=={bound['version']}"
            if bound["name"] == "opencv-python":  # its build for servers has the same versions
                yield f"opencv-python-headless=={bound['version']}"


def main() -> None:
    """Print the constraints, with the pinned version of what is not tested at its oldest."""
    root = Path(__file__).parents[1]
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = dict.fromkeys(each for text in texts for each in lowest(text))
    pins = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    print("\n".join([*(pin for pin in pins if pin.startswith(f"{AS_PINNED}==")), *found]))


if __name__ == "__main__":
    main()
