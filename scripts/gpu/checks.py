"""What must work on the device, and how close its numbers must be to those of a CPU.

Each check takes a `Context` and returns what it found, or raises `Failure`. The CPU's figures stand in
reference.json, by data set; `gpu-check --update-reference` makes them anew.
"""

import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import time

from program import COUNTERS, WAITS, Counters, Failure, expect, lines, output_end

# The largest relative difference between a loss of the first ten batches and the CPU's. float64 shows that both
# draw the same masks and take the same steps; in float32 rounding errors grow along a run.
TOLERANCES = {
    "tutorial, float64": 1e-9,
    "dropout, batch normalisation, clipping and averaging, float64": 1e-8,
    "the same with elastic augmentation, float32": 1e-3,
    "tutorial, float32": 1e-4,
    "deep, float64": 1e-8,
    # Batch normalisation, ReLUs and pooling turn a rounding error into another maximum within a few steps.
    "deep, float32": 2e-2,
    "tutorial, bfloat16": 3e-2,
    "deep, bfloat16": 5e-2,
}
PROBABILITY_TOLERANCE = 1e-5

# The largest difference of accuracies, by scale: a run is chaotic, and more so a short one on few images or one with
# a high learning rate to its end (Adam at 0.01 in the tutorial's recipe).
ACCURACY_TOLERANCE = {"full": 0.006, "small": 0.06}
TUTORIAL_TOLERANCE = 0.015

MOMENTUM = {"momentum": {"learningRate": 0.01}}
ALL_LAYERS = [
    {"conv": {"outChannels": 8, "kernelSize": 3, "padding": 1}},
    {"batchNorm": {}},
    {"relu": {}},
    {"maxPool": {"kernelSize": 2}},
    {"dropout": {"probability": 0.2, "axes": [0, 1]}},
    {"flatten": {}},
    {"linear": {"outFeatures": 32}},
    {"relu": {}},
    {"dropout": {"probability": 0.3, "mode": "DROPOUT_MODE_DOWNSCALE_IN_INFER"}},
    {"linear": {"outFeatures": 10}},
]
EVERYTHING = {
    "network": {"layers": ALL_LAYERS},
    "optimizer": MOMENTUM,
    "clipGradientNorm": 1.0,
    "weightAveraging": {"decay": 0.99},
    "labelSmoothing": 0.1,
    "regularization": {"l2": 1e-4},
}
AUGMENTATION = {"rotationDegrees": 10, "shiftPixels": 1.5, "scale": 0.1, "shearDegrees": 5, "elasticAlpha": 20}

DEEP = {"network": {"preset": "deep"}}

# The runs whose accuracy is compared with the CPU's.
RUNS = {
    "recipe TUTORIAL": {"recipe": "RECIPE_TUTORIAL"},
    "recipe FAST": {"recipe": "RECIPE_FAST"},
    "deep, one epoch, float32": {**DEEP, "epochs": 1},
    "deep, one epoch, bfloat16": {**DEEP, "epochs": 1, "precision": "PRECISION_BFLOAT16"},
}


class Context:
    """The state that the checks share."""

    def __init__(self, program, scale, reference):
        self.program, self.scale = program, scale
        self.dataset = "mnist" if program.kit.mnist and scale == "full" else "synthetic"
        self.on_gpu = program.device != "cpu"
        # The CPU's results on this data set; the measured ones, where they are to be renewed.
        self.reference = reference.get(self.dataset, {})
        self.found = {"losses": {}, "probabilities": [], "accuracy": {}}

    def request(self, model, images=None, **fields):
        """A training request over this data set, or its first images."""
        dataset = {"name": self.dataset}
        if images:
            dataset["maxTrainImages"] = images
        return {"model": model, "dataset": dataset, **fields}

    def compare(self, what, found, expected, tolerance):
        """Fails if the result differs from the CPU's by more than the tolerance; returns the difference."""
        distance = abs(found - expected)
        limit = tolerance * max(1.0, abs(expected))
        expect(distance <= limit, f"{what}: {found} is {distance:.3g} from the CPU's {expected}, above {limit:.3g}")
        return distance


def doctor(context):
    checks = json.loads(context.program.run("doctor", "--json", "--http-addr", "off", "--grpc-addr", "127.0.0.1:0"))
    rows = {check["name"]: check for check in checks}
    wanted = "ok" if context.on_gpu else rows["cuda"]["state"]
    expect(rows["cuda"]["state"] == wanted, f"cuda: {rows['cuda']['found']}; {rows['cuda']['advice']}")
    return {name: rows[name]["found"] for name in ("digitd", "libtorch", "cpu", "cuda")}


def wrong_device(context):
    flags = ["--in-process", "--device", "cuda:9", "--dataset", "synthetic", "--validate-only"]
    done = context.program.run("train", *flags, check=False)
    expect(done.returncode == 1, f"it ended with {done.returncode}: {output_end(done)}")
    expect("cuda:9 does not work: " in done.stderr, f"it said: {output_end(done)}")
    return {"message": done.stderr.strip().splitlines()[0]}


def losses(context):
    """The losses of the first ten batches, for each way of training."""
    requests = {
        "tutorial, float64": {"optimizer": MOMENTUM, "precision": "PRECISION_FLOAT64"},
        "dropout, batch normalisation, clipping and averaging, float64": {
            **EVERYTHING,
            "precision": "PRECISION_FLOAT64",
        },
        "the same with elastic augmentation, float32": {**EVERYTHING, "augmentation": AUGMENTATION},
        "tutorial, float32": {},
        "deep, float64": {**DEEP, "optimizer": MOMENTUM, "precision": "PRECISION_FLOAT64"},
        "deep, float32": {**DEEP, "optimizer": MOMENTUM},
        "tutorial, bfloat16": {"precision": "PRECISION_BFLOAT16"},
        "deep, bfloat16": {**DEEP, "optimizer": MOMENTUM, "precision": "PRECISION_BFLOAT16"},
    }
    if context.scale == "small":
        # This takes half a minute on two cores.
        del requests["deep, float64"]
    furthest, failures = {}, []
    for case, fields in requests.items():
        request = context.request("losses", 1000, epochs=1, reportEveryBatches=1, validation={"count": 200}, **fields)
        events = context.program.train(request)
        found = [event["batch"]["loss"] for event in events if "batch" in event]
        expect(len(found) == 10, f"{case}: {len(found)} batches were reported, not 10")
        context.found["losses"][case] = found
        expected = context.reference.get("losses", {}).get(case, found)
        furthest[case] = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, expected, strict=True))
        # Not `>`: NaN is beyond every tolerance.
        if not furthest[case] <= TOLERANCES[case]:
            failures.append(f"{case}: {furthest[case]:.3g} from the CPU, above {TOLERANCES[case]:.3g}")
    expect(not failures, "; ".join(failures))
    return {"furthest from the CPU": furthest}


def probabilities(context):
    """Probabilities by the version of the first float64 run, whose weights are the CPU's."""
    indices = [flag for index in range(16) for flag in ("--index", index)]
    answers = context.program.client("predict", "--json", "--model", "losses", "--version", 1, "--dataset", context.dataset, *indices)
    found = [line["response"]["predictions"][0]["probabilities"] for line in lines(answers)]
    context.found["probabilities"] = found
    expected = context.reference.get("probabilities") or found
    distances = [
        context.compare("a probability", a, b, PROBABILITY_TOLERANCE)
        for row, reference in zip(found, expected, strict=True)
        for a, b in zip(row, reference, strict=True)
    ]
    return {"pictures": len(found), "furthest from the CPU": max(distances)}


def accuracies(context):
    """The accuracy on the test images, or on a few validation images in the short run."""
    results = {}
    images, split = (None, "test") if context.scale == "full" else (1000, "validation")
    for name, fields in RUNS.items():
        if context.scale == "small":
            fields = {**fields, "epochs": 1, "validation": {"count": 500}}
        began = time.monotonic()
        events = context.program.train(context.request("accuracy", images, **fields))
        seconds = time.monotonic() - began
        answer = json.loads(context.program.client("evaluate", "--json", "--model", "accuracy", "--split", split))
        found = answer["accuracy"]
        context.found["accuracy"][name] = found
        expected = context.reference.get("accuracy", {}).get(context.scale, {}).get(name, found)
        tolerance = ACCURACY_TOLERANCE[context.scale]
        if name == "recipe TUTORIAL":
            tolerance = max(tolerance, TUTORIAL_TOLERANCE)
        context.compare(f"{name}: accuracy", found, expected, tolerance)
        finished = events[-1]["finished"]
        results[name] = {
            "accuracy": found,
            "on the CPU": expected,
            "seconds of training": round(finished["seconds"], 2),
            "seconds with start and report": round(seconds, 2),
        }
    return results


def resume(context):
    """A run that is stopped and resumed ends as one that never stopped; on a CPU to the bit."""
    images, batch = (2000, 10) if context.on_gpu else (400, 20)
    fields = {**EVERYTHING, "epochs": 12, "batchSize": batch, "validation": {"count": 200}}
    whole = context.program.train(context.request("resume", images, **fields))
    request = context.request("resume", images, **fields)
    run = context.program.start_run(request)
    identifier = run.wait_for("epoch")["runId"]
    last = run.stop().get("finished", {})
    expect(last.get("state") == "RUN_STATE_CANCELLED", f"the run was not stopped before its end: {last}")
    resumed = context.program.train(request, "--resume", identifier)
    ends = [[event["epoch"] for event in events if "epoch" in event][-1] for events in (whole, resumed)]
    kept = [{key: end[key] for key in ("validationLoss", "validationAccuracy", "trainLoss")} for end in ends]
    if context.on_gpu:
        context.compare("validation accuracy", kept[1]["validationAccuracy"], kept[0]["validationAccuracy"], 0.1)
    else:
        expect(kept[0] == kept[1], f"without a stop it ends with {kept[0]}, resumed with {kept[1]}")
    started = next(event["started"] for event in resumed if "resumed" in event.get("started", {}))
    return {"resumed from": started["resumed"], "without a stop": kept[0], "resumed": kept[1]}


def inspect(context):
    flags = ["--json", "--model", "accuracy", "--version", 1, "--index", 0]
    asked = ["--contents", "--gradients", "--saliency", "--occlusion", "--health"]
    answer = json.loads(context.program.client("inspect", *flags, *asked))
    for part in ("layers", "gradients", "saliency", "occlusion", "health"):
        expect(part in answer, f"the answer has no {part}")
    norms = [answer["gradients"]["norm"], answer["saliency"]["norm"]]
    expect(all(map(math.isfinite, norms)), f"norms are {norms}")
    expect(len(answer["saliency"]["gradient"]) == 784, "saliency has a number for each pixel")
    outputs = [layer["name"] for layer in answer["layers"] if "output" in layer]
    expect(outputs, "no layer shows its output")
    return {"layers with outputs": len(outputs), "gradient norm": norms[0], "saliency norm": norms[1]}


def predict(context):
    """One image and many, by both protocols, give the same labels."""
    seconds = 0.3 if context.scale == "small" else 1
    pictures = pixels(context)
    results = {}
    for images in (1, 1000):
        answers = {
            protocol: context.program.generate_load(
                "--protocol", protocol, "--images", images, "--seconds", seconds, "--pictures", pictures,
                model="accuracy",
            )
            for protocol in ("native", "oip")
        }
        native, oip = answers["native"]["labels"], answers["oip"]["labels"]
        expect(len(native) == images and native == oip, f"{images} pictures: the protocols answer different labels")
        results[f"{images} a call"] = {name: answer["images_per_second"] for name, answer in answers.items()}
    return {"images a second, one caller": results}


def serving_beside_a_run(context):
    seconds = 0.5 if context.scale == "small" else 3
    load = lambda: context.program.generate_load(
        "--callers", 16, "--seconds", seconds, "--pictures", pixels(context), model="accuracy"
    )
    requests = {"tutorial, batch 100": {}}
    if context.scale == "full":
        # This puts long kernels into the one stream that training and serving share.
        requests["deep, batch 4096"] = {**DEEP, "batchSize": 4096}
    keys = ("calls_per_second", "p50_us", "p99_us")
    found = {"alone": load()}
    for name, fields in requests.items():
        run = context.program.start_run(context.request("beside", epochs=1000, **fields))
        run.wait_for("batch")
        found[f"beside {name}"] = load()
        expect(run.child.poll() is None, f"the run ended early: {run.events[-1:]}")
        last = run.stop().get("finished", {})
        expect(last.get("state") == "RUN_STATE_CANCELLED", f"the run ended so: {last}")
    return {name: {key: figures[key] for key in keys} for name, figures in found.items()}


# A network whose first layer needs 2 GB for the largest batch that a request may ask for.
WIDE = [
    {"conv": {"outChannels": 1024, "kernelSize": 1}},
    {"maxPool": {"kernelSize": 28}},
    {"flatten": {}},
    {"linear": {"outFeatures": 10}},
]


def huge_batch(context):
    """A batch that is too large for any device is rejected by its field; one that does not fit into the free
    memory ends the run with an error that says so."""
    program = context.program
    request = context.request("wide", 700, epochs=1, network={"layers": WIDE}, validation={"count": 0})
    refused = program.run(
        "train", "--in-process", "--validate-only", "--request", program.request({**request, "batchSize": 60000}),
        check=False,
    )
    expect(refused.returncode == 1 and "batch_size" in refused.stderr, f"60 000 images: {output_end(refused)}")
    flags = ["train", "--in-process", "--json", "--request", program.request({**request, "batchSize": 660})]
    with filled_gpu(program.device) if context.on_gpu else limited_memory() as options:
        done = program.run(*flags, check=False, **options)
    expect(done.returncode == 1, f"it ended with {done.returncode}: {output_end(done)}")
    message = lines(done.stdout)[-1].get("finished", {}).get("message", "")
    expect("ran out of memory" in message, f"it said {message!r}: {output_end(done)}")
    return {"refused": refused.stderr.strip().splitlines()[0], "out of memory": message}


@contextlib.contextmanager
def limited_memory():
    """Enough memory for a process of digitd, but not for 2 GB more; the memory of threads grows with the cores."""
    limit = int((2.6 + 0.15 * os.cpu_count()) * 2**30)
    yield {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}


@contextlib.contextmanager
def filled_gpu(device):
    """Another process that leaves 1.5 GiB of the GPU free, enough for a CUDA context and a small run."""
    program = (
        "import sys, torch\n"
        f"free, _ = torch.cuda.mem_get_info('{device}')\n"
        f"held = torch.empty(free - int(1.5 * 2**30), dtype=torch.uint8, device='{device}')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", program], text=True, **pipes)
    try:
        expect(child.stdout.readline().strip() == "held", "Python's torch could not fill the GPU")
        yield {}
    finally:
        child.kill()
        child.wait()


def synchronisations(context):
    """How often a training step waits for the device, and what it starts there: two runs that differ in
    their number of steps alone, so that what a run does once cancels out."""
    program = context.program
    counters = Counters(program.scratch / "cuda_calls")
    environment = {
        "LD_PRELOAD": str(program.kit.cuda_calls(program.scratch)),
        "CUDA_CALLS_FILE": str(counters.path),
    }
    cases = {
        "tutorial": {},
        "dropout, batch normalisation, clipping and averaging": EVERYTHING,
        "the same with elastic augmentation": {**EVERYTHING, "augmentation": AUGMENTATION},
    }
    few, many = 20, 60
    if context.scale == "small":
        few, many = 4, 8
        cases = dict([cases.popitem()])
    results = {}
    with program.serving(environment=environment):
        for case, fields in cases.items():
            counts = [calls_of_a_run(context, counters, steps, fields) for steps in (few, few, many)]
            # The first run prepares kernels.
            _, less, more = counts
            steps = {name: (more[name] - less[name]) / (many - few) for name in COUNTERS}
            waits = sum(steps[name] for name in WAITS)
            expect(waits < 0.05, f"{case}: a step waits {waits:.2f} times for the device: {steps}")
            expect(steps["launch"] > 0 or not context.on_gpu, "no launch was counted: is cuda_calls.so in use?")
            results[case] = {"waits": waits, "copies": steps["memcpy_async"], "kernels of libtorch": steps["launch"]}
    return {"of a step": results}


def calls_of_a_run(context, counters, steps, fields):
    request = context.request(
        "calls", 100 * steps, epochs=1, reportEveryBatches=10**6, validation={"count": 0}, **fields
    )
    before = counters.read()
    context.program.train(request)
    after = settled(counters)
    return {name: after[name] - before[name] for name in COUNTERS}


def settled(counters):
    """The counters once they stand still: the new version is loaded by then."""
    for _ in range(40):
        before = counters.read()
        time.sleep(0.5)
        if counters.read() == before:
            return before
    raise Failure("the device is called without end, though no run is under way")


def pixels(context):
    """A file of test images as bytes, made once."""
    path = context.program.scratch / "pictures"
    if not path.exists():
        folder = context.program.kit.mnist
        path.write_bytes(mnist_pixels(folder) if folder else strokes())
    return path


def mnist_pixels(folder):
    import gzip

    packed = folder / "t10k-images-idx3-ubyte.gz"
    plain = folder / "t10k-images-idx3-ubyte"
    return (gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes())[16:]


def strokes():
    """Images of bars, the first hundred all different, for use without MNIST."""
    pictures = bytearray()
    for number in range(4096):
        picture = bytearray(784)
        column, width = 4 + number % 20, 2 + number // 20 % 4
        for row in range(4, 24):
            picture[28 * row + column : 28 * row + min(column + width, 28)] = b"\xff" * min(width, 28 - column)
        pictures += picture
    return bytes(pictures)


# The order matters: later checks use the versions that earlier ones published.
ALONE = {"doctor": doctor, "a wrong device": wrong_device}
SERVED = {
    "losses of ten batches": losses,
    "probabilities": probabilities,
    "accuracies": accuracies,
    "stop and resume": resume,
    "inspect": inspect,
    "predict": predict,
    "serving beside a run": serving_beside_a_run,
}
AFTER = {"synchronisations": synchronisations, "a huge batch": huge_batch}
