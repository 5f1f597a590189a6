"""Search for good settings of a training with Optuna: resumable, and bad trials end early."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fundus.errors import DivergedError, OptionsError, TrainingError
from napari_fundus.runtime.files import atomic_write, write_json
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import EpochEnd, Finished, TrainingEvent
from napari_fundus.training.search.ranges import SearchRange

if TYPE_CHECKING:
    import optuna

_PLOTS = {
    "history": "plot_optimization_history",
    "curves": "plot_intermediate_values",
    "slices": "plot_slice",
    "importances": "plot_param_importances",
}
_FOLDER = "folder"


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes
    ----------
    settings
        The best trial's values of what was searched.
    metric, value
        The figure that was improved, and its best.
    checkpoint
        The best trial's weights.
    trials, pruned
        How many are finished, and how many were ended early.
    """

    settings: Mapping[str, Any]
    metric: str
    value: float
    checkpoint: Path
    trials: int
    pruned: int


def search(
    train: Callable[..., Iterator[TrainingEvent]],
    output: str | Path,
    *,
    ranges: Mapping[str, SearchRange],
    trials: int,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    monitor: Monitor | None = None,
    on_event: Callable[[int, TrainingEvent], None] = lambda _number, _event: None,
    **arguments: Any,
) -> SearchResult:
    """Train again and again with other settings, and keep what serves best.

    Optuna's tree-structured Parzen estimator proposes the settings; a trial that is worse than the
    median of the others at the same epoch ends. `output` holds the journal, a folder
    for each trial, ``search.json`` and plots. Called again, the search is resumed, and so is the
    training of a trial that was killed.

    Parameters
    ----------
    train
        ``Detector.train`` of the method.
    output
        Folder of the search.
    ranges
        Name of a setting to its values.
    trials
        How many there shall be in all, those of earlier calls included.
    settings
        Those that are the same in all trials.
    seed
        Of the proposals.
    monitor
        Takes progress; may cancel, and the search can then go on later.
    on_event
        Is called with the trial's number and each event of its training.
    **arguments
        Further arguments of `train`, such as ``data``.

    Raises
    ------
    OptionsError
        There is nothing to search, a setting is both fixed and searched, or Optuna is missing.
    Cancelled
        The search was cancelled.
    """
    _require_optuna()
    from optuna.trial import TrialState

    fixed = dict(settings or {})
    if not ranges or trials < 1:
        raise OptionsError("A search needs at least one trial and one setting with a range.")
    if both := sorted(set(fixed) & set(ranges)):
        raise OptionsError(f"{', '.join(both)}: fixed and searched at once. Choose one.")
    folder, monitor = Path(output), monitor or Monitor()
    folder.mkdir(parents=True, exist_ok=True)
    study = _open_study(folder, seed)
    _requeue_interrupted(study)

    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    while len(study.get_trials(deepcopy=False, states=finished)) < trials:
        trial = study.ask()
        share = min(trial.number / trials, 1.0), min((trial.number + 1) / trials, 1.0)
        monitor.step(share[0], f"trial {trial.number + 1}")
        chosen = {name: values.suggest_value(trial, name) for name, values in ranges.items()}
        trial_folder = trial.user_attrs.get(_FOLDER) or f"trial_{trial.number + 1:03}"
        trial.set_user_attr(_FOLDER, trial_folder)
        # Whatever interrupts the training leaves the trial as running: `_requeue_interrupted` takes
        # it up.
        events = train(
            output=folder / trial_folder,
            settings={**fixed, **chosen},
            monitor=monitor.part(*share),
            resume=True,
            **arguments,
        )
        value = _run_trial(events, trial, partial(on_event, trial.number))
        if value is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
        _write_table(folder, study)
    _plot(folder, study)
    return _result(folder, study)


def _run_trial(
    events: Iterator[TrainingEvent], trial: optuna.Trial, on_event: Callable[[TrainingEvent], None]
) -> float | None:
    """Go through a training; return its best figure, or None if it was ended early or diverged."""
    last: Finished | None = None
    try:
        for event in events:
            on_event(event)
            if isinstance(event, EpochEnd):
                trial.set_user_attr("metric", event.metric)
                trial.report(event.metrics[event.metric], event.epoch)
                if trial.should_prune():
                    return None
            elif isinstance(event, Finished):
                last = event
    except DivergedError:
        return None
    if last is None:
        raise TrainingError("The training ended without a result.")
    if not last.best.higher_is_better:
        raise TrainingError(f"{last.best.metric} is not a figure that a search can raise.")
    return float(last.best.metrics[last.best.metric])


def _open_study(folder: Path, seed: int) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _quiet():
        return optuna.create_study(
            study_name="search",
            storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=5),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
            direction="maximize",
            load_if_exists=True,
        )


def _requeue_interrupted(study: optuna.Study) -> None:
    """Propose the trials again that were running when the search was interrupted."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        attributes = {k: v for k, v in trial.user_attrs.items() if k == _FOLDER}
        study.enqueue_trial(trial.params, user_attrs=attributes)


def _write_table(folder: Path, study: optuna.Study) -> None:
    """Write the settings and the result of each trial."""
    from optuna.trial import TrialState

    rows = [
        {
            "trial": trial.number + 1,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "folder": trial.user_attrs.get(_FOLDER),
            "settings": _settings(trial),
        }
        for trial in study.get_trials(deepcopy=False)
    ]
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    best = study.best_trial.number + 1 if complete else None
    metric = complete[-1].user_attrs.get("metric") if complete else None
    page = {"schema": 1, "metric": metric, "best": best, "trials": rows}
    write_json(folder / "search.json", page, overwrite=True)


def _plot(folder: Path, study: optuna.Study) -> None:
    """Write Optuna's plots, as far as the trials allow."""
    import matplotlib as mpl
    from optuna.visualization import matplotlib as drawing

    with mpl.rc_context({"figure.constrained_layout.use": True}), _quiet():
        backend = mpl.get_backend()
        mpl.use("agg")
        from matplotlib import pyplot as plt

        try:
            for name, function in _PLOTS.items():
                try:
                    axes = getattr(drawing, function)(study)
                except (ValueError, RuntimeError, ImportError) as error:
                    # Importances, for one, need trials that differ, and scikit-learn.
                    logging.getLogger(__name__).info("No plot %s: %s", name, error)
                    continue
                first = axes.flat[0] if hasattr(axes, "flat") else axes
                with atomic_write(folder / f"{name}.png", overwrite=True) as path:
                    first.figure.savefig(path, dpi=120, format="png")
        finally:
            plt.close("all")
            mpl.use(backend)


def _result(folder: Path, study: optuna.Study) -> SearchResult:
    from optuna.trial import TrialState

    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if not complete:
        raise TrainingError("All trials were ended early: give more of them, or longer ones.")
    best = study.best_trial
    return SearchResult(
        settings=_settings(best),
        metric=str(best.user_attrs.get("metric")),
        value=float(study.best_value),
        checkpoint=folder / str(best.user_attrs[_FOLDER]) / "best.safetensors",
        trials=len(complete),
        pruned=len(study.get_trials(states=(TrialState.PRUNED,))),
    )


def _settings(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {n: json.loads(v) if isinstance(v, str) else v for n, v in trial.params.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's notes on experimental features to itself."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _require_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise OptionsError('A search needs Optuna: pip install "napari-fundus[models]".')
