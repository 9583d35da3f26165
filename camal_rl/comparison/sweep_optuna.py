"""Trials proposed by Optuna; the study is stored in the sweep's folder, so that it can be resumed."""

from __future__ import annotations

import importlib
import json
import warnings
from typing import Any

from camal_rl.comparison.sweep_search import SearchOptions, Trial, needed_trials
from camal_rl.comparison.sweep_space import Choice, Range
from camal_rl.extras import install_command

JOURNAL = "optuna.journal"
"""The file of the study, which Optuna's own tools can read."""
_NAME = "sweep"
_SPACE = "space"


class OptunaSearch:
    """A study with Optuna's default sampler, the tree-structured Parzen estimator.

    Its random numbers depend on the number of existing trials, so a resumed study proposes the same trials.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: the number of trials is missing, or the folder contains another or a damaged study.
    """

    def __init__(self, options: SearchOptions) -> None:
        self.options, self.count = options, needed_trials(options)
        self.optuna = _import_optuna()
        self._opened: Any = None
        if (options.folder / JOURNAL).exists():
            self._opened = self._open()

    def next(self) -> list[Trial]:
        """Return the unfinished trials, or the next ones."""
        study, running = self._study(), self.optuna.trial.TrialState.RUNNING
        if not study.get_trials(deepcopy=False, states=(running,)):
            done = len(study.get_trials(deepcopy=False))
            study.sampler = self.optuna.samplers.TPESampler(seed=done, constant_liar=True)
            for _ in range(min(self.options.at_once, self.count - done)):
                study.ask({each.key: self._distribution(each) for each in self.options.space.varied})
        return [self._trial(each) for each in study.get_trials(deepcopy=False, states=(running,))]

    def tell(self, trial: Trial, value: float | None) -> None:
        """Report the objective of a trial to the study."""
        failed = self.optuna.trial.TrialState.FAIL if value is None else None
        self._study().tell(trial.number, value, state=failed)

    def trials(self) -> list[Trial]:
        """Return every trial of the study."""
        return [] if self._opened is None else [self._trial(each) for each in self._opened.get_trials(deepcopy=False)]

    def _study(self) -> Any:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> Any:
        path = self.options.folder / JOURNAL
        described = json.dumps([vars(each) for each in self.options.space.varied], sort_keys=True)
        try:
            journal = importlib.import_module("optuna.storages.journal").JournalFileBackend(str(path))
            study = self.optuna.create_study(
                storage=self.optuna.storages.JournalStorage(journal),
                study_name=_NAME,
                direction="maximize" if self.options.maximizes else "minimize",
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError) as error:
            told = type(error).__name__
            raise ValueError(f"{path} does not contain an Optuna study ({told}); give another --out") from error
        known = study.user_attrs.get(_SPACE)
        if known is None:
            study.set_user_attr(_SPACE, described)
        elif known != described:
            raise ValueError(
                f"{path} contains a study of other settings or values; give the same ones, or another --out"
            )
        return study

    def _distribution(self, varied: Choice | Range) -> Any:
        distributions = self.optuna.distributions
        if isinstance(varied, Choice):
            return distributions.CategoricalDistribution(varied.values)
        if varied.whole:
            return distributions.IntDistribution(int(varied.low), int(varied.high), log=varied.log)
        return distributions.FloatDistribution(varied.low, varied.high, log=varied.log)

    def _trial(self, frozen: Any) -> Trial:
        settings = {
            each.key: str(frozen.params[each.key]) if isinstance(each, Choice) else each.text(frozen.params[each.key])
            for each in self.options.space.varied
        }
        return Trial(frozen.number, settings)


def _import_optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(f"--search optuna needs Optuna; install it with: {install_command('tune')}") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
