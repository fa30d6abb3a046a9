from __future__ import annotations

import optuna
import optunahub
import torch
from torch import nn


EPOCHS = 6
module = optunahub.load_module(package="pruners/reconstruction_entropy")

# A task that any healthy network can learn: 64 features that depend on 8 factors.
torch.manual_seed(0)
factors = torch.randn(512, 8)
inputs = torch.tanh(factors @ torch.randn(8, 64))
labels = (factors[:, 0] * factors[:, 1] > 0).long()


def objective(trial: optuna.Trial) -> float:
    # Suggest everything first, then probe: samplers look at the parameters all trials share.
    depth = trial.suggest_int("depth", 2, 40)
    gain = trial.suggest_float("gain", 0.1, 2.0, log=True)
    learning_rate = trial.suggest_float("learning_rate", 1e-5, 1.0, log=True)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=gain / 8)
        layers += [linear, nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(64, 2))

    optimizer = torch.optim.Adam(model.parameters(), learning_rate)

    # A few first steps, and all is put back; verdict, cause and reason are stored in the trial.
    training = module.Training(nn.functional.cross_entropy, optimizer, budget=EPOCHS * 8)
    verdict = module.probe_trial(trial, model, (inputs, labels), training=training)
    if trial.should_prune():
        raise optuna.TrialPruned(verdict.reason)

    accuracy = 0.0
    for epoch in range(EPOCHS):
        for x, y in zip(inputs.split(64), labels.split(64)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = float((model(inputs).argmax(1) == labels).float().mean())
        trial.report(accuracy, epoch)
        if trial.should_prune():  # what the wrapped pruner says
            raise optuna.TrialPruned
    return accuracy


# Decides on trials whose network can train; any pruner, or none.
wrapped = optuna.pruners.MedianPruner()
pruner = module.ReconstructionEntropyPruner(wrapped_pruner=wrapped)
study = optuna.create_study(
    direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner
)
study.optimize(objective, n_trials=20)

for trial in study.trials:
    if not trial.user_attrs["recent_prune:trainable"]:
        print(f"Trial {trial.number} never started: {trial.user_attrs['recent_prune:reason']}")
