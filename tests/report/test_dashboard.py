from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import create_trial

from recent_prune.optuna import ReconstructionEntropyPruner, attributes
from recent_prune.report import DashboardCallback, save_to_dashboard
from tests.optuna.studies import condemned, failing, objective

FIGURES = {"recent_prune-verdicts", "recent_prune-profiles"}


def new_study(storage: Any = None) -> Study:
    return optuna.create_study(
        storage=storage,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=ReconstructionEntropyPruner(),
        direction="maximize",
    )


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def dashboard(study: Study) -> Iterator[str]:
    """The address of a real dashboard on a free port."""
    app = optuna_dashboard.wsgi(study._storage)
    with make_server("127.0.0.1", 0, app, handler_class=Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def shown(study: Study) -> dict[str, Any]:
    """What the dashboard's own page asks its server for."""
    with dashboard(study) as address:
        url = f"{address}/api/studies/{study._study_id}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return dict(json.load(answer))


def notes(study: Study) -> list[str]:
    return [trial["note"]["body"] for trial in shown(study)["trials"]]


def figures(study: Study) -> dict[str, Any]:
    found = shown(study)["plotly_graph_objects"]
    return {figure["id"]: json.loads(figure["graph_object"]) for figure in found}


@pytest.mark.parametrize("storage", ["memory", "sqlite", "journal"])
def test_the_dashboard_shows_notes_and_figures(storage: str, tmp_path: Path) -> None:
    known: dict[str, Callable[[], Any]] = {
        "memory": lambda: None,
        "sqlite": lambda: f"sqlite:///{tmp_path / 'study.db'}",
        "journal": lambda: JournalStorage(JournalFileBackend(str(tmp_path / "journal"))),
    }
    study = new_study(known[storage]())
    study.optimize(objective, n_trials=6, callbacks=[DashboardCallback(every=6)])
    dead = {trial.number for trial in condemned(study)}
    assert 0 < len(dead) < 6
    seen = shown(study)
    for trial in study.trials:
        body = seen["trials"][trial.number]["note"]["body"]
        cause = trial.user_attrs[attributes.CAUSE]
        verdict = f"cannot train ({cause})" if trial.number in dead else "can train"
        assert body.startswith(
            f"**recent_prune: {verdict}**\n\n{trial.user_attrs[attributes.REASON]}"
        )
        assert f"{trial.user_attrs[attributes.RETAINED]:.2%} of the input's variance" in body
        assert f"{trial.user_attrs[attributes.RELATIVE_ENTROPY]:.4g} nats" in body
        assert f" of {trial.user_attrs[attributes.DEPTH]}\n" in body
    drawn = figures(study)
    assert set(drawn) == FIGURES
    assert [t["name"] for t in drawn["recent_prune-verdicts"]["data"]] == [
        f"kept ({6 - len(dead)})",
        f"pruned ({len(dead)})",
    ]


class TestCallback:
    def test_draws_every_so_many_trials(self) -> None:
        study = new_study()
        callback = DashboardCallback(every=4, params=("depth", "weight_variance"))
        counts = []
        for _ in range(3):
            study.optimize(objective, n_trials=3, callbacks=[callback])
            data = figures(study).get("recent_prune-verdicts", {"data": []})["data"]
            counts.append(sum(int(trace["name"].split("(")[1][:-1]) for trace in data))
        assert counts == [0, 4, 8]

    def test_draws_nothing_on_demand(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=2, callbacks=[DashboardCallback(every=None)])
        assert figures(study) == {}
        assert all(notes(study))

    def test_leaves_trials_alone_that_were_not_probed(self) -> None:
        study = new_study()
        study.optimize(lambda trial: 1.0, n_trials=2, callbacks=[DashboardCallback(every=1)])
        assert notes(study) == ["", ""]
        assert figures(study) == {}

    def test_works_with_threads(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=6, n_jobs=3, callbacks=[DashboardCallback(every=1)])
        assert all("**recent_prune:" in note for note in notes(study))
        assert set(figures(study)) == FIGURES

    def test_a_figure_that_cannot_be_drawn_warns_and_the_study_goes_on(self) -> None:
        study = new_study()
        callback = DashboardCallback(every=1, params=("depth", "x"))
        with pytest.warns(UserWarning, match=r"parameters of \['depth', .*, but got 'x'"):
            study.optimize(objective, n_trials=2, callbacks=[callback])
        assert len(study.trials) == 2

    def test_a_storage_that_fails_warns_and_the_study_goes_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object, **__: object) -> None:
            raise optuna.exceptions.StorageInternalError("database is locked")

        monkeypatch.setattr("recent_prune.report.dashboard._save_note", fails)
        study = new_study()
        with pytest.warns(UserWarning, match="Not shown in the dashboard: database is locked"):
            study.optimize(objective, n_trials=2, callbacks=[DashboardCallback()])
        assert len(study.trials) == 2

    def test_refuses_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match="`every` must be at least 1 or None, but got 0"):
            DashboardCallback(every=0)


class TestSaveToDashboard:
    def test_completes_a_study_and_repeats_nothing(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=4)
        assert notes(study) == [""] * 4
        save_to_dashboard(study)
        first = notes(study)
        assert all(note.count("**recent_prune:") == 1 for note in first)
        study.optimize(objective, n_trials=2)
        save_to_dashboard(study)
        assert notes(study)[:4] == first
        assert all("**recent_prune:" in note for note in notes(study))
        assert set(figures(study)) == FIGURES

    def test_keeps_what_people_wrote(self) -> None:
        study = new_study()

        def noted(trial: optuna.Trial) -> float:
            optuna_dashboard.save_note(trial, "Mine.")
            return objective(trial)

        study.optimize(noted, n_trials=1)
        save_to_dashboard(study)
        (note,) = notes(study)
        assert note.startswith("Mine.\n\n**recent_prune: ")

    def test_infinite_activations_have_a_note(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=1)
        numbers = {**study.trials[0].user_attrs, attributes.RELATIVE_ENTROPY: None}
        study.add_trial(create_trial(value=0.5, user_attrs={**numbers, attributes.TRIAL: 1}))
        save_to_dashboard(study)
        assert "relative entropy there: not finite" in notes(study)[1]

    def test_notes_of_first_steps(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=1)
        steps = {
            attributes.TRIAL: 1,
            attributes.ADVICE: "Lower the rate.",
            attributes.LOSS_BEFORE: 2.3,
            attributes.LOSS_AFTER: 4.6,
            attributes.CONSTANT_LOSS: 2.3,
        }
        old = study.trials[0].user_attrs
        study.add_trial(create_trial(value=0.5, user_attrs={**old, **steps}))
        save_to_dashboard(study)
        before, after = notes(study)
        assert "loss in the first steps" not in before
        assert f"{old[attributes.REASON]}\n\nLower the rate.\n\n- loss in the first" in after
        assert "steps: 1 → 2 times that of a constant prediction\n- retained" in after

    def test_a_failed_probe_has_a_note(self) -> None:
        study = new_study()
        study.optimize(failing, n_trials=1)
        save_to_dashboard(study)
        (note,) = notes(study)
        assert note.startswith("**recent_prune: could not be judged**\n\nRuntimeError: mat1 and")

    def test_a_study_of_version_0_1_has_notes(self) -> None:
        study = new_study()
        study.optimize(objective, n_trials=1)
        new = (
            attributes.CAUSE,
            attributes.ADVICE,
            attributes.LOSS_BEFORE,
            attributes.LOSS_AFTER,
            attributes.CONSTANT_LOSS,
        )
        known = study.trials[0].user_attrs
        other = new_study()
        old = {key: value for key, value in known.items() if key not in new}
        other.add_trial(create_trial(value=0.5, user_attrs=old))
        save_to_dashboard(other)
        (note,) = notes(other)
        assert f"train**\n\n{known[attributes.REASON]}\n\n- retained" in note

    def test_refuses_a_study_without_probes(self) -> None:
        study = optuna.create_study(study_name="plain")
        study.add_trial(create_trial(value=0.5))
        with pytest.raises(ValueError, match="'plain' has no probed trials: its objective did not"):
            save_to_dashboard(study)


def test_without_the_dashboard_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    for call in (DashboardCallback, lambda: save_to_dashboard(optuna.create_study())):
        with pytest.raises(ImportError, match=r"pip install 'recent-prune\[dashboard\]'"):
            call()
