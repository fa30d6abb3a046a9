"""Train a small convolutional network on handwritten digits, in a plain loop.

python examples/vision.py --learning-rate 0.1
python examples/vision.py --learning-rate 30   # is not trained
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import recent_prune as rp
from recent_prune.data import load_digits


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    loader = DataLoader(TensorDataset(digits.train, digits.train_labels), 64, shuffle=True)
    model, steps = network(), given.epochs * len(loader)
    optimizer = torch.optim.SGD(model.parameters(), given.learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    training = rp.Training(F.cross_entropy, optimizer, scheduler=schedule, budget=steps)  # added
    verdict = rp.TrainabilityRule()(rp.probe(model, loader, training=training))  # added
    if not verdict.trainable:
        raise SystemExit(verdict.reason)

    for epoch in range(given.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
        accuracy = (model(digits.test).argmax(1) == digits.test_labels).float().mean()
        print(f"epoch {epoch + 1}: test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
