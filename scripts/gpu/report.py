"""The result of a check as a page of Markdown, for docs/gpu.md."""


def page(result):
    parts = [f"{result['date']}, digitd {result['digitd']}, {result['libtorch']}, on {result['machine']}.", ""]
    parts += table(["check", "outcome", "seconds"], [checked(check) for check in result["checks"]])
    figures = result["figures"]
    if figures.get("training"):
        parts += ["", "Training, images a second (PyTorch: bare steps; digitd: whole epochs with reports):", ""]
        parts += table(["network", "precision", "batch", "digitd", "eager", "torch.compile"], training(figures))
    if figures.get("time_to_99"):
        parts += ["", "Training of the tutorial's network until 99 % of the test images are read:", ""]
        parts += table(["", "seconds", "epochs", "test accuracy"], to_99(figures))
    if figures.get("prediction"):
        parts += ["", "Predictions through gRPC, the callers on the same machine:", ""]
        parts += table(["callers", "images a call", "calls/s", "images/s", "p50, µs", "p99, µs"], served(figures))
    rows = in_process(figures)
    if rows:
        parts += ["", "PyTorch's forward pass in process, with the copies to the device and back:", ""]
        parts += table(["variant", "batch", "images/s", "p50, µs", "p99, µs"], rows)
    return "\n".join(parts) + "\n"


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def checked(check):
    outcome = "passed" if check["passed"] else f"FAILED: {check['failure']}"
    return [check["name"], outcome.replace("|", "\\|").replace("\n", " "), f"{check['seconds']:.1f}"]


def number(value):
    return "" if value is None else f"{value:,.0f}".replace(",", " ")


def peers(figures, what):
    return [line for line in figures.get("pytorch") or [] if line["what"] == what]


def training(figures):
    def of(variant, ours):
        keys = ("network", "precision", "batch")
        found = [
            line.get("images_s")
            for line in peers(figures, "training")
            if line["variant"] == variant and all(line[key] == ours[key] for key in keys)
        ]
        return number(found[0]) if found else ""

    for ours in figures["training"]:
        cells = [ours["network"], ours["precision"], str(ours["batch"]), number(ours["images_s"])]
        yield [*cells, of("eager", ours), of("torch.compile", ours)]


def to_99(figures):
    rows = [("digitd", figures["time_to_99"])]
    rows += [(f"PyTorch, {line['variant']}", line) for line in peers(figures, "time_to_99") if line.get("seconds")]
    for name, found in rows:
        yield [name, f"{found['seconds']:.2f}", str(found["epochs"]), f"{100 * found['test_accuracy']:.2f} %"]


def served(figures):
    for found in figures["prediction"]:
        keys = ("callers", "images_per_call", "calls_per_second", "images_per_second", "p50_us", "p99_us")
        yield [number(found[key]) for key in keys]


def in_process(figures):
    lines = [line for line in peers(figures, "prediction") if "images_s" in line]
    return [
        [line["variant"], str(line["batch"]), *(number(line[key]) for key in ("images_s", "p50_us", "p99_us"))]
        for line in lines
    ]
