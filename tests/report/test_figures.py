from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from recent_prune.optuna import attributes
from recent_prune.report import (
    plot_entropy_profile,
    plot_saved_compute,
    plot_verdicts,
)
from tests.optuna.studies import build, condemned, run, train

PARAMS = ("weight_variance", "depth")


@pytest.fixture(scope="module")
def study() -> Study:
    return run(12)


@pytest.fixture(scope="module")
def reference(study: Study) -> Study:
    """The same trials, none pruned."""
    full = optuna.create_study(direction="maximize")
    for trial in study.trials:
        full.enqueue_trial(trial.params)
    full.optimize(lambda trial: train(trial, build(trial)), n_trials=len(study.trials))
    return full


def test_profiles_have_a_line_a_trial(study: Study) -> None:
    figure = plot_entropy_profile(study)
    dead = len(condemned(study))
    names = [trace.name for trace in figure.data]
    assert names == [f"kept ({12 - dead})"] * 2 + [f"pruned ({dead})"] * 2
    assert [trace.line.dash for trace in figure.data] == ["solid", "solid", "dash", "dash"]
    for trace in figure.data:
        gaps = [i for i, x in enumerate(trace.x) if x is None]
        assert len(gaps) == int(trace.name.split("(")[1][:-1])
        assert max(x for x in trace.x if x is not None) == 1
    trial = condemned(study)[0]
    assert trial.user_attrs[attributes.PROFILE]["retained"][-1] in figure.data[3].y


def test_verdicts_show_every_trial_once(study: Study) -> None:
    figure = plot_verdicts(study, PARAMS)
    kept, pruned = figure.data
    assert kept.marker.symbol == "circle"
    assert pruned.marker.symbol == "x-open"
    points = sorted((*kept.x, *pruned.x))
    assert points == sorted(t.params["weight_variance"] for t in study.trials)
    assert list(kept.marker.color) == [t.value for t in study.trials if t not in condemned(study)]
    assert figure.layout.xaxis.title.text == "weight_variance"
    assert figure.layout.xaxis.type == "log"


def test_trials_without_a_parameter_are_counted_and_not_drawn() -> None:
    study = optuna.create_study()

    def objective(trial: optuna.Trial) -> float:
        for name, value in {
            attributes.TRAINABLE: trial.number % 2 == 0,
            attributes.TRIAL: trial.number,
        }.items():
            trial.set_user_attr(name, value)
        deep = trial.number < 4
        return trial.suggest_float("x", 1, 2) + (trial.suggest_float("y", 1, 2) if deep else 0)

    study.optimize(objective, n_trials=9)
    figure = plot_verdicts(study, ("x", "y"))
    assert [trace.name for trace in figure.data] == ["kept (2)", "pruned (2)"]
    assert [len(trace.x) for trace in figure.data] == [2, 2]
    assert "of 4 trials" in figure.layout.title.text
    assert "5 more have not both" in figure.layout.title.text
    assert plot_verdicts(study, ("x", "x")).layout.title.text.endswith("of every trial")


def test_long_names_are_short_at_the_axis_and_whole_at_the_pointer() -> None:
    study, long = optuna.create_study(), "w" * 170

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr(attributes.TRAINABLE, True)
        trial.set_user_attr(attributes.TRIAL, trial.number)
        return trial.suggest_float(long, 1, 2) + trial.suggest_float("x", 1, 2)

    study.optimize(objective, n_trials=1)
    figure = plot_verdicts(study, (long, "x"))
    assert figure.layout.xaxis.title.text == "w" * 39 + "…"
    assert figure.layout.yaxis.title.text == "x"
    (text,) = figure.data[0].text
    assert f"{long}:{study.trials[0].params[long]}" in text.replace("<br>", "").replace(" ", "")
    assert "x: " not in text


def test_the_pointer_shows_cause_advice_and_losses() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    told = {
        attributes.TRAINABLE: False,
        attributes.REASON: "The loss <rises>. " * 8,
        attributes.CAUSE: "diverges",
        attributes.ADVICE: "Lower the rate.",
        attributes.LOSS_BEFORE: 2.3,
        attributes.LOSS_AFTER: 46.0,
        attributes.CONSTANT_LOSS: 2.3,
    }
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED,
            params={"x": 0.5},
            distributions=study.trials[0].distributions,
            user_attrs={**told, attributes.TRIAL: 2},
        )
    )
    (text,) = plot_verdicts(study, ("x", "x")).data[1].text
    lines = text.split("<br>")
    assert max(map(len, lines)) < 120
    assert lines[0].startswith("trial 2: The loss &lt;rises&gt;. The loss")
    assert lines[-4:] == [
        "cause: diverges",
        "Lower the rate.",
        "loss in the first steps: 1 → 20 times that of a constant prediction",
        "objective value: unknown",
    ]


def test_verdicts_take_the_value_of_pruned_trials_from_the_reference(
    study: Study, reference: Study
) -> None:
    pruned = plot_verdicts(study, PARAMS, reference=reference).data[1]
    assert pruned.marker.symbol == "x"
    expected = [reference.trials[t.number].value for t in condemned(study)]
    assert list(pruned.marker.color) == expected


def test_saved_compute_adds_up(study: Study, reference: Study) -> None:
    without, with_, probes = plot_saved_compute(study, reference).data

    def seconds(study: Study) -> float:
        return sum(t.duration.total_seconds() for t in study.trials if t.duration)

    assert without.y[-1] == pytest.approx(seconds(reference))
    assert with_.y[-1] == pytest.approx(seconds(study))
    spent = sum(t.user_attrs[attributes.SECONDS] for t in study.trials)
    assert probes.y[-1] == pytest.approx(spent)
    assert len(without.x) == len(with_.x) == 12


@pytest.mark.parametrize(
    "plot",
    [
        plot_entropy_profile,
        lambda study: plot_verdicts(study, PARAMS),
        lambda study: plot_saved_compute(study, study),
    ],
)
@pytest.mark.parametrize("trials", [0, 2])
def test_studies_without_probes_warn_and_still_give_a_figure(plot: Any, trials: int) -> None:
    empty = optuna.create_study()
    empty.optimize(
        lambda t: t.suggest_float("weight_variance", 0, 1) + t.suggest_int("depth", 1, 2),
        n_trials=trials,
    )
    with pytest.warns(UserWarning, match="has no probed trials: its objective did not call"):
        figure = plot(empty)
    assert figure.layout.title.text


def test_refuses_unknown_parameters(study: Study) -> None:
    with pytest.raises(
        ValueError, match=r"parameters of \['depth', 'weight_variance'\], but .*'x'"
    ):
        plot_verdicts(study, ("x", "depth"))
