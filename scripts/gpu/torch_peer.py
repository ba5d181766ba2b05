#!/usr/bin/env python3
"""Trains and runs the same networks in PyTorch, eager and compiled, for comparison; JSON lines.

The data set lies on the device as bytes and batches are gathered and normalised there, as digitd does it; the
loss is Adam's on cross-entropy, read once at the end. What is compiled is the whole of a training step but the
optimiser's own part, which is fused where the device has a fused one. Figures come in the order of their
importance, and none is begun after `--seconds`.
"""

import argparse
import gzip
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

# Batches that are timed, after a tenth of them as warm-up.
STEPS = 300


def tutorial():
    conv = lambda inputs: nn.Conv2d(inputs, 20, 5, padding=2)
    pool = lambda: nn.MaxPool2d(2)
    return nn.Sequential(conv(1), nn.ReLU(), pool(), conv(20), nn.ReLU(), pool(), nn.Flatten(), nn.Linear(980, 10))


def deep():
    block = lambda inputs, outputs: [nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]
    layers = [*block(1, 32), *block(32, 32), nn.MaxPool2d(2), *block(32, 64), *block(64, 64), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(1024, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.4)]
    return nn.Sequential(*layers, nn.Linear(256, 10))


NETWORKS = {"tutorial": tutorial, "deep": deep}


class Data:
    """A set on the device as bytes."""

    def __init__(self, folder, part, device):
        if folder:
            self.pixels = idx(folder, f"{part}-images-idx3-ubyte", 16).view(-1, 1, 28, 28).to(device)
            self.labels = idx(folder, f"{part}-labels-idx1-ubyte", 8).long().to(device)
        else:
            generator = torch.Generator().manual_seed(0)
            self.pixels = torch.randint(256, (50000, 1, 28, 28), generator=generator, dtype=torch.uint8).to(device)
            self.labels = torch.randint(10, (50000,), generator=generator).to(device)

    def batch(self, indices):
        return images(self.pixels[indices]), self.labels[indices]


def images(pixels):
    """Bytes as numbers in [0, 1], in channels_last as digitd has them."""
    return (pixels.float() / 255).contiguous(memory_format=torch.channels_last)


def idx(folder, name, header):
    packed, plain = folder / f"{name}.gz", folder / name
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)


class Trainer:
    def __init__(self, arguments, network, precision, compiled, total_steps):
        self.device, self.total_steps = arguments.device, total_steps
        torch.manual_seed(0)
        self.network = NETWORKS[network]().to(self.device, memory_format=torch.channels_last)
        self.initial = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.restart()
        kind, enabled = self.device.partition(":")[0], precision == "bfloat16"

        def loss(pictures, labels):
            with torch.autocast(kind, torch.bfloat16, enabled=enabled):
                return nn.functional.cross_entropy(self.network(pictures), labels)

        self.loss = compile_graphs(loss) if compiled else loss

    def restart(self):
        """Restores the state before the first step; compiled code stays compiled."""
        self.network.load_state_dict(self.initial)
        fused = self.device != "cpu"
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.003, fused=fused)
        # digitd's default is a one-cycle schedule too.
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, 0.003, self.total_steps, cycle_momentum=False
        )

    def step(self, pictures, labels):
        loss = self.loss(pictures, labels)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)


def compile_graphs(function):
    """Compiles into CUDA graphs, which suit small networks best. Earlier compilations are dropped: after a few
    functions of the same code PyTorch would silently continue without compiling."""
    torch._dynamo.reset()
    return torch.compile(function, mode="reduce-overhead")


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def training(arguments, data, network, precision, batch, compiled):
    """Images a second over whole batches of shuffled images."""
    warm_up = max(STEPS // 10, 10)
    trainer = Trainer(arguments, network, precision, compiled, warm_up + STEPS)
    order = torch.randperm(len(data.labels), device=arguments.device)
    place = lambda step: order[(step * batch) % (len(order) - batch) :][:batch]
    for step in range(warm_up):
        trainer.step(*data.batch(place(step)))
    wait(arguments.device)
    began = time.perf_counter()
    for step in range(STEPS):
        trainer.step(*data.batch(place(step)))
    wait(arguments.device)
    return {"images_s": STEPS * batch / (time.perf_counter() - began)}


def accuracy(trainer, data):
    trainer.network.eval()
    with torch.no_grad():
        answers = [trainer.network(data.batch(part)[0]).argmax(1) for part in torch.arange(10000).split(1000)]
    trainer.network.train()
    return (torch.cat(answers) == data.labels[:10000]).double().mean().item()


def time_to_99(arguments, train, test, compiled):
    """The first of these runs of the tutorial's network that reaches 99 % test accuracy."""
    for epochs in (1, 2, 3, 5):
        trainer = Trainer(arguments, "tutorial", "float32", compiled, epochs * 500 + 1)
        # The time to compile and to choose kernels does not count as training.
        for _ in range(10):
            trainer.step(*train.batch(torch.arange(100, device=arguments.device)))
        trainer.restart()
        wait(arguments.device)
        began = time.perf_counter()
        for _ in range(epochs):
            for indices in torch.randperm(50000, device=arguments.device).split(100):
                trainer.step(*train.batch(indices))
        wait(arguments.device)
        seconds = time.perf_counter() - began
        found = accuracy(trainer, test)
        if found >= 0.99:
            return {"seconds": seconds, "epochs": epochs, "test_accuracy": found}
    return {"seconds": None, "epochs": None, "test_accuracy": found}


def prediction(arguments, test, batch, compiled):
    """From bytes in the host's memory to probabilities there, in process, one call after the other."""
    network = tutorial().to(arguments.device, memory_format=torch.channels_last).eval()
    forward = compile_graphs(network) if compiled else network
    pictures = test.pixels[:batch].cpu()
    seconds = []
    with torch.inference_mode():
        for call in range(STEPS):
            began = time.perf_counter()
            forward(images(pictures.to(arguments.device, non_blocking=True))).softmax(1).cpu()
            if call >= STEPS // 10:
                seconds.append(time.perf_counter() - began)
    middle = statistics.median(seconds)
    p99 = sorted(seconds)[math.floor(len(seconds) * 0.99)]
    return {"images_s": batch / middle, "p50_us": 1e6 * middle, "p99_us": 1e6 * p99}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    torch.backends.cudnn.allow_tf32 = False
    train, test = (Data(arguments.mnist, part, arguments.device) for part in ("train", "t10k"))

    for labels, measure in plan(arguments, train, test):
        if time.monotonic() > deadline:
            print("the time is over", file=sys.stderr)
            return
        try:
            print(json.dumps({**labels, **measure()}), flush=True)
        except Exception as error:  # One figure that cannot be had leaves the others.
            print(json.dumps({**labels, "failed": str(error).splitlines()[0]}), flush=True)


def plan(arguments, train, test):
    for compiled in (False, True):
        variant = {"variant": "torch.compile" if compiled else "eager"}
        for network in NETWORKS:
            for precision in ("float32", "bfloat16"):
                for batch in (100, 1024):
                    labels = {"what": "training", **variant, "network": network, "precision": precision, "batch": batch}
                    yield labels, lambda: training(arguments, train, network, precision, batch, compiled)
        if arguments.mnist:
            yield {"what": "time_to_99", **variant}, lambda: time_to_99(arguments, train, test, compiled)
        for batch in (1, 64, 256, 1024):
            labels = {"what": "prediction", **variant, "batch": batch}
            yield labels, lambda: prediction(arguments, test, batch, compiled)


if __name__ == "__main__":
    main()
