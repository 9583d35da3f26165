"""iFAM: a classifier in two stages; the second stage sees only the patches that the first stage chooses."""

from camal_rl.supervised.ifam.model import Ifam, build_ifam
from camal_rl.supervised.ifam.weights import IfamWeights

__all__ = ["Ifam", "IfamWeights", "build_ifam"]
