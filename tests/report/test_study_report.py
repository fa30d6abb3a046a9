from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.optuna.certified import agreed
from recent_prune.report import StudyReport
from tests.browser import needs_chromium, opened
from tests.optuna.certified_study import create, objective
from tests.optuna.studies import DIGITS, build, condemned, failing, run

REASON = (
    "Only 0.00% of the input is retained at 'tanh50' (at least 0.50% needed); 23.2% of the depth "
    "is blind."
)


@pytest.fixture(scope="module")
def study() -> Study:
    return run(12)


def made_up(
    trials: int, dead: int, seconds: float = 0.0, layers: int = 3, retained: float | None = None
) -> Study:
    """A study with so many trials, the first of them condemned; `retained` grows unless given."""
    study = optuna.create_study(direction="maximize", study_name="made up")
    distribution = optuna.distributions.FloatDistribution(0, 1e9)
    for number in range(trials):
        kept = number >= dead
        profile = [round(1 / (layer + 1.2345), 4) for layer in range(layers)]
        trial = create_trial(
            state=optuna.trial.TrialState.COMPLETE if kept else optuna.trial.TrialState.PRUNED,
            value=0.5 if kept else None,
            params={name: float(number) for name in ("depth", "gain", "lr")},
            distributions=dict.fromkeys(("depth", "gain", "lr"), distribution),
            user_attrs={
                attributes.TRAINABLE: kept,
                attributes.TRIAL: number,
                attributes.REASON: REASON,
                attributes.RETAINED: 0.1 + number / 1e4 if retained is None else retained,
                attributes.RELATIVE_ENTROPY: 0.4,
                attributes.CUTOFF: 3,
                attributes.DEPTH: layers,
                attributes.SECONDS: seconds,
                attributes.PROFILE: {
                    "layer": list(range(1, layers + 1)),
                    "retained": profile,
                    "relative_entropy": profile,
                },
            },
        )
        assert trial.datetime_start is not None
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=1)
        study.add_trial(trial)
    return study


def test_counts_and_reasons(study: Study) -> None:
    report = StudyReport.of(study)
    dead = condemned(study)
    assert dead
    assert report.summary.loc["probed", "value"] == "12"
    assert str(report.summary.loc["pruned by the probe", "value"]).startswith(f"{len(dead)} (")
    assert report.pruned["number"].tolist() == [t.number for t in dead]
    assert report.pruned["depth"].tolist() == [t.params["depth"] for t in dead]
    assert set(report.pruned["reason"]) == {t.user_attrs[attributes.REASON] for t in dead}
    assert len(report.figures) == 2
    page = report.page()
    assert study.study_name in page
    assert f"The {len(dead)} trials that the probe pruned" in page
    known = json.loads(report.to_json())
    assert len(known["pruned"]) == len(dead)
    assert known["summary"]["probed"] == "12"


def test_causes_and_losses_of_first_steps() -> None:
    other = optuna.create_study(direction="maximize")
    for trial in made_up(30, 5).trials:
        causes = ["diverges", "stalls", "diverges", "diverges", "lost"]
        cause = causes[trial.number] if trial.number < 5 else None
        trial.user_attrs[attributes.CAUSE] = cause
        trial.user_attrs[attributes.ADVICE] = "Lower the rate." if cause == "diverges" else None
        trial.user_attrs[attributes.VIOLATION] = (15 - trial.params["lr"]) / 30
        trial.user_attrs[attributes.LOSS_BEFORE] = 2.0
        trial.user_attrs[attributes.LOSS_AFTER] = None if cause == "diverges" else 1.0
        trial.user_attrs[attributes.CONSTANT_LOSS] = 2.0
        other.add_trial(trial)
    report = StudyReport.of(other)
    told = report.summary["value"].to_dict()
    names = list(told)
    after = names.index("pruned by the probe") + 1
    assert names[after] == "of these, diverges"
    assert {name: told[name] for name in names[after : after + 3]} == {
        "of these, diverges": "3",
        "of these, stalls": "1",
        "of these, lost": "1",
    }
    assert report.pruned["cause"].tolist() == ["diverges", "stalls", "diverges", "diverges", "lost"]
    assert report.pruned["loss_before"].tolist() == [2.0] * 5
    page = report.page()
    assert "made a few first steps with its own optimizer" in page
    assert "1 → not finite times that of a constant prediction" in page
    assert "1 → 0.5 times that of a constant prediction" in page
    assert "loss_before" not in page
    assert "Lower the rate." in page


def test_a_study_of_version_0_1(study: Study) -> None:
    """It has neither causes nor losses, and says what was not looked at."""
    report = StudyReport.of(made_up(30, 5))  # with the attributes of then
    assert list(report.pruned) == ["number", "reason", "retained", "depth", "gain", "lr"]
    assert not [name for name in report.summary.index if "of these" in name]
    assert "Learning rate and optimizer were not looked at" in report.page()
    assert "Learning rate and optimizer were not looked at" in StudyReport.of(study).page()


def test_failed_probes_are_counted() -> None:
    study = made_up(3, 1)
    study.optimize(failing, n_trials=2)
    report = StudyReport.of(study)
    fault = study.trials[3].user_attrs[attributes.FAULT]
    assert report.summary.loc["probed", "value"] == "3"
    assert report.summary.loc["could not be judged", "value"] == "2"
    assert report.warnings == [
        f"2 of 5 trials could not be judged, the first because of {fault}",
    ]
    only = optuna.create_study()
    only.optimize(failing, n_trials=1)
    (warning,) = StudyReport.of(only).warnings
    assert warning.startswith("1 of 1 trials could not be judged, the first because of Runtime")


def test_verdicts_are_drawn_over_what_they_depend_on() -> None:
    figure, _ = StudyReport.of(made_up(30, 5)).figures[0]
    assert figure.layout.xaxis.title.text in ("depth", "gain", "lr")
    figure, _ = StudyReport.of(made_up(30, 5), params=("lr", "gain")).figures[0]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("lr", "gain")
    with pytest.raises(ValueError, match="`params` must name parameters of"):
        StudyReport.of(made_up(30, 5), params=("lr", "width"))


@pytest.mark.parametrize("lost", [0.0, None])
def test_trials_that_all_retain_the_same_are_drawn_too(lost: float | None) -> None:
    study = made_up(3, 3, retained=0.0)  # no rank correlation: warnings are errors here
    other = made_up(1, 0, retained=0.4).trials[0]
    other.user_attrs[attributes.RETAINED] = lost
    study.add_trial(other)
    figure, _ = StudyReport.of(study).figures[0]
    assert {figure.layout.xaxis.title.text, figure.layout.yaxis.title.text} == {"depth", "gain"}


@pytest.mark.parametrize(
    ("trials", "dead", "seconds", "expected"),
    [
        (30, 28, 0.0, "93.3% of the probed trials were condemned: the search space is at fault"),
        (30, 0, 0.0, "Nothing was condemned: on this search space the probe is not worth"),
        (30, 5, 0.1, "of the time in trials: trainings are so short here"),
    ],
)
def test_warnings(trials: int, dead: int, seconds: float, expected: str) -> None:
    (warning,) = StudyReport.of(made_up(trials, dead, seconds)).warnings
    assert expected in warning


def test_trials_that_another_pruner_stopped_count_as_trained() -> None:
    study = made_up(10, 4)
    before = StudyReport.of(study).summary["value"]
    assert before["stopped later, by another pruner"] == "0"
    assert before["epochs reported"] == "–"
    for number in range(20):
        stopped = made_up(1, 0).trials[0]
        stopped.state, stopped.values, stopped.number = TrialState.PRUNED, None, 10 + number
        stopped.user_attrs[attributes.TRIAL] = stopped.number
        stopped.intermediate_values = {0: 0.1}
        assert stopped.datetime_start is not None
        stopped.datetime_complete = stopped.datetime_start + timedelta(seconds=0.5)
        study.add_trial(stopped)
    after = StudyReport.of(study).summary["value"]
    assert after["stopped later, by another pruner"] == "20"
    assert after["epochs reported"] == "20"
    assert before["saved, about"].startswith("4.0 s")
    assert after["saved, about"].startswith("2.0 s")


def test_where_nothing_ran_nothing_is_known_to_be_saved() -> None:
    report = StudyReport.of(made_up(30, 30, 0.1))
    assert report.summary.loc["saved, about", "value"] == "–"
    assert not any("trainings are so short" in warning for warning in report.warnings)


def test_parameters_called_as_other_columns_keep_their_prefix() -> None:
    trials = made_up(4, 2).trials
    for trial in trials:
        trial.params["number"] = trial.params.pop("lr")
        trial.distributions["number"] = trial.distributions.pop("lr")
    other = optuna.create_study()
    other.add_trials(trials)
    report = StudyReport.of(other)
    assert {"number", "param:number", "depth"} <= set(report.pruned.columns)
    assert len(json.loads(report.to_json())["pruned"]) == 2


def test_few_trials_say_nothing_of_the_space() -> None:
    assert StudyReport.of(made_up(5, 5)).warnings == []


def test_trials_that_were_not_probed() -> None:
    study = made_up(30, 5)
    study.add_trial(create_trial(value=0.3))
    assert StudyReport.of(study).warnings == ["1 of 31 trials were not probed."]


def test_a_study_without_finished_trials_says_so() -> None:
    report = StudyReport.of(optuna.create_study())
    assert report.warnings == ["The study has no finished trial yet."]
    assert report.figures == []
    assert "no finished trial yet" in report.page()
    unprobed = optuna.create_study()
    unprobed.add_trial(create_trial(value=0.3))
    assert StudyReport.of(unprobed).warnings == [
        "No finished trial was probed: the objective did not call probe_trial, or failed."
    ]


def test_failed_and_running_trials_have_their_lines() -> None:
    study = made_up(6, 2)
    assert not {"failed", "running"} & set(StudyReport.of(study).summary.index)
    for _ in range(2):
        study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    agreed(study, {"threshold": 0.5})  # such a trial has failed and never ran
    told = StudyReport.of(study).summary["value"]
    assert told.iloc[:3].to_dict() == {"finished trials": "6", "failed": "2", "running": "1"}


def test_a_certified_study_shows_its_bound() -> None:
    study = create()
    study.optimize(objective, n_trials=5)
    report = StudyReport.of(study)
    assert report.figures[-1][0].layout.title.text == "Good trials lost"


def test_stored_reconstructions_are_shown() -> None:
    study = optuna.create_study(direction="maximize", pruner=ReconstructionEntropyPruner())

    def objective(trial: optuna.Trial) -> float:
        probe_trial(trial, build(trial), DIGITS.train, reconstruct=DIGITS.test[:2])
        return 0.5

    study.enqueue_trial({"depth": 48, "weight_variance": 0.05})
    study.enqueue_trial({"depth": 3, "weight_variance": 1.5})
    study.optimize(objective, n_trials=2)
    figures = StudyReport.of(study, params=("depth", "weight_variance")).figures
    assert [caption for _, caption in figures[-2:]] == [
        "Trial 0 (pruned): input and reconstructions.",
        "Trial 1 (kept): input and reconstructions.",
    ]
    assert len(figures[-1][0].data) == 2 * 4
    assert figures[-1][0].data[0].z.shape == (8, 8)


def test_a_thousand_trials_are_less_than_5_mb() -> None:
    assert len(StudyReport.of(made_up(1000, 400, layers=64)).page()) < 5e6


@needs_chromium
@pytest.mark.parametrize("width", [390, 1200])
def test_page_in_a_browser(study: Study, tmp_path: Path, width: int) -> None:
    path = tmp_path / f"report_{width}.html"
    path.write_text(StudyReport.of(study).page(), encoding="utf-8")
    with opened(path, width, 900) as (page, errors):
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length == 2")
        page.evaluate("document.querySelector('h1').textContent += ' ' + 'x'.repeat(300)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        point = page.locator(".scatterlayer .point").first
        point.hover(force=True)
        page.wait_for_selector(".hoverlayer .hovertext")
        assert "trial" in (page.locator(".hoverlayer").first.text_content() or "")
        assert errors == []  # Plotly itself tells of one when a trace is hidden
        plot = page.locator(".js-plotly-plot").first
        shown = plot.locator(".scatterlayer .trace:visible").count()
        plot.locator(".legendtoggle").first.click()
        page.wait_for_timeout(800)  # a second click would isolate the trace
        assert plot.locator(".scatterlayer .trace:visible").count() < shown
