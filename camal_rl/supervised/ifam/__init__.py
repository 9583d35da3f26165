"""iFAM: a classifier in two stages; the second sees only the patches that the first has chosen."""

from camal_rl.supervised.ifam.model import Ifam, build_ifam
from camal_rl.supervised.ifam.weights import IfamWeights

__all__ = ["Ifam", "IfamWeights", "build_ifam"]
