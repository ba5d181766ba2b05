"""How fast the device trains and predicts, beside PyTorch on the same GPU where Python has it."""

import json
import os
import signal
import subprocess
import sys
import time

from checks import pixels
from program import HERE, Failure, log, output_end

NETWORKS = ("tutorial", "deep")
PRECISIONS = ("float32", "bfloat16")
BATCHES = (100, 1024)

# Epochs of a one-cycle schedule; the first of these runs that reaches 99 % test accuracy gives the time.
EPOCHS_TO_99 = (1, 2, 3, 5)

# Concurrent callers, images a call.
CALLS = ((1, 1), (64, 1), (256, 1))

# Bulk calls, to a server whose batches hold a whole call.
BULK = (4, 1024)


def training(context):
    """Images a second in the last of three epochs; in the short run, of one."""
    small = context.scale == "small"
    images, epochs = (500, 1) if small else (None, 3)
    exercise = {"validation": {"count": 100}} if small else {}
    figures = []
    for network in NETWORKS:
        for precision in PRECISIONS:
            for batch in BATCHES[:1] if small else BATCHES:
                fields = {
                    "network": {"preset": network},
                    "precision": f"PRECISION_{precision.upper()}",
                    "batchSize": batch,
                    "epochs": epochs,
                    **exercise,
                }
                events = context.program.train(context.request("speed", images, **fields))
                last = [event["epoch"] for event in events if "epoch" in event][-1]
                figures.append(
                    {"network": network, "precision": precision, "batch": batch, "images_s": last["imagesPerSecond"]}
                )
    return figures


def time_to_99(context):
    """Seconds of training to 99 % test accuracy, and the number of epochs that it took."""
    if context.scale == "small" or context.dataset != "mnist":
        return None
    for epochs in EPOCHS_TO_99:
        events = context.program.train(context.request("speed", epochs=epochs))
        answer = json.loads(context.program.client("evaluate", "--json", "--model", "speed"))
        if answer["accuracy"] >= 0.99:
            seconds = events[-1]["finished"]["seconds"]
            return {"seconds": seconds, "epochs": epochs, "test_accuracy": answer["accuracy"]}
    return None


def prediction(context):
    seconds = 0.3 if context.scale == "small" else 3

    def ask(callers, images):
        options = ["--callers", callers, "--images", images, "--seconds", seconds]
        found = context.program.generate_load(*options, "--pictures", pixels(context), model="accuracy")
        keys = ("callers", "images_per_call", "calls_per_second", "images_per_second", "p50_us", "p99_us")
        return {key: found[key] for key in keys}

    figures = [ask(*calls) for calls in (CALLS[:2] if context.scale == "small" else CALLS)]
    with context.program.serving("--max-batch-size", str(BULK[1]), "--queue-capacity", str(4 * BULK[1])):
        return [*figures, ask(*BULK)]


def peer(context, deadline):
    """PyTorch's figures for the same, as torch_peer.py prints them, one after the other until the deadline."""
    seconds = deadline - time.monotonic()
    if seconds < 20:
        raise Failure("there was no time left for it")
    command = [sys.executable, HERE / "torch_peer.py", "--seconds", str(seconds - 10)]
    command += ["--device", context.program.device]
    if context.program.kit.mnist:
        command += ["--mnist", context.program.kit.mnist]
    # digitd sets NVIDIA_TF32_OVERRIDE for itself in the same way: both multiply float32 in float32.
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # It gets a session of its own, so that the compilers it starts end with it: they hold the pipes too.
    child = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, errors = child.communicate()
        log("  PyTorch's figures were cut short: the time is over")
    figures = [json.loads(line) for line in output.splitlines()]
    if not any("failed" not in figure for figure in figures):
        done = subprocess.CompletedProcess(command, 1, output, errors)
        raise Failure(f"torch_peer.py gave no figures: {output_end(done)}")
    return figures
