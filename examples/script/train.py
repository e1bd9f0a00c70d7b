"""The same classifier on a session: alone with `python train.py`, on a cluster with `dsj run job.yaml`."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import deepseek_runtime

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--epochs", type=int, default=10)
args = parser.parse_args()

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
labels = torch.tensor(labels)
test = torch.arange(len(images)) % 5 == 0
dataset = TensorDataset(images[~test], labels[~test])

model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(512, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
loss_fn = nn.CrossEntropyLoss()


def evaluate(model: nn.Module) -> dict[str, float]:
    device = next(model.parameters()).device
    right = model(images[test].to(device)).argmax(1) == labels[test].to(device)
    return {"accuracy": right.float().mean().item()}


session = deepseek_runtime.join(model, optimizer, dataset, evaluate=evaluate, epochs=args.epochs)
for x, y in session:
    loss = loss_fn(model(x), y)
    session.backward(loss)
    session.step()
print(session.metrics)
