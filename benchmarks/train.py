"""Race a training step (forward, backward, SGD with momentum) against PyTorch eager.

    taskset -c 1 python benchmarks/train.py --net cnn28 --peer torch

The last line is the ratio of our time to the peer's, median [quartiles] over the rounds. Before the race both sides
take three steps from equal weights, and their losses must agree.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="cnn28", help="mlp, cnn8, cnn28 or mobilenet (benchmarks/nets.py)")
    parser.add_argument("--peer", default="torch", choices=["torch", "channels_last"])
    parser.add_argument("--batch", type=int, default=0, help="images a step (default: the net's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


def our_step(net, x, y) -> tuple[object, Callable[[], float]]:  # type: ignore[no-untyped-def]
    """Our model, and a function that trains it for one step and returns the loss."""
    from nets import ours

    from tinyquant import autograd as F
    from tinyquant.optim import SGD

    model = ours(net)
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def their_step(net, mine, x, y, channels_last: bool) -> Callable[[], float]:  # type: ignore[no-untyped-def]
    """The same for PyTorch, from the same weights."""
    import torch
    from nets import same_weights, theirs

    model = theirs(net)
    same_weights(net, mine, model)
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor(y)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def main() -> None:
    """Build both sides, hold their losses against each other, race."""
    arguments = options()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import torch
    from harness import race, report
    from nets import NETS, batch

    torch.set_num_threads(arguments.threads)
    net = NETS[arguments.net]
    size = arguments.batch or net.batch
    x, y = batch(net, size)
    model, mine = our_step(net, x, y)
    peer = their_step(net, model, x, y, arguments.peer == "channels_last")
    losses = [(mine(), peer()) for _ in range(3)]
    for ours, theirs in losses:
        if not abs(ours - theirs) <= 1e-3 * theirs:
            raise SystemExit(f"the losses of the first steps must agree, got {losses}. This race would compare two nets.")
    print(f"{arguments.net}, batch {size}, {arguments.threads} thread(s); losses of the first steps agree: {losses[-1]}")
    print(report(race({"tinyquant": mine, arguments.peer: peer}, arguments.rounds)))


if __name__ == "__main__":
    main()
