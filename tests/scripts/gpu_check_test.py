"""Tests the parts of scripts/gpu-check that its run on a CPU does not reach. Run by `make test`."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPTS / "gpu"))

import checks  # noqa: E402
import program  # noqa: E402
import report  # noqa: E402

# A CUDA runtime of two functions, and a program that calls them.
RUNTIME = "int cudaStreamSynchronize(void *stream) { return stream ? 7 : 3; }\nint cudaDeviceSynchronize(void) { return 5; }"
CALLER = """
import ctypes, sys
runtime = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
calls = ctypes.CDLL(None)
print(calls.cudaStreamSynchronize(None), calls.cudaStreamSynchronize(ctypes.c_void_p(1)), calls.cudaDeviceSynchronize())
"""


def compile_library(source, library):
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], input=source, text=True, check=True)


class CudaCalls(unittest.TestCase):
    def test_calls_are_counted_and_passed_on(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            shim, runtime, counts = folder / "cuda_calls.so", folder / "runtime.so", folder / "counts"
            compile_library((SCRIPTS / "gpu/cuda_calls.c").read_text(), shim)
            compile_library(RUNTIME, runtime)
            environment = {"LD_PRELOAD": str(shim), "CUDA_CALLS_FILE": str(counts), "PATH": "/usr/bin:/bin"}
            command = [sys.executable, "-c", CALLER, runtime]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.split(), ["3", "7", "5"])
            found = program.Counters(counts).read()
        self.assertEqual([found["stream_synchronize"], found["device_synchronize"], found["launch"]], [2, 1, 0])


class Comparison(unittest.TestCase):
    def test_a_loss_too_far_from_the_cpus_fails(self):
        context = checks.Context.__new__(checks.Context)
        self.assertAlmostEqual(context.compare("a loss", 2.0001, 2.0, 1e-4), 1e-4)
        for far in (2.001, float("nan")):
            with self.assertRaises(program.Failure):
                context.compare("a loss", far, 2.0, 1e-4)

    def test_every_case_has_a_tolerance_and_a_reference(self):
        reference = json.loads((SCRIPTS / "gpu/reference.json").read_text())
        for dataset in ("mnist", "synthetic"):
            mine = reference[dataset]
            self.assertEqual(mine["losses"].keys(), checks.TOLERANCES.keys())
            self.assertEqual(mine["accuracy"]["full"].keys(), checks.RUNS.keys())
            self.assertEqual([len(row) for row in mine["probabilities"]], [10] * 16)
        self.assertEqual(reference["synthetic"]["accuracy"]["small"].keys(), checks.RUNS.keys())


class Report(unittest.TestCase):
    def test_a_result_becomes_tables(self):
        training = {"network": "deep", "precision": "float32", "batch": 100}
        result = {
            "date": "2026-01-02",
            "digitd": "0.1.0",
            "libtorch": "torch 2.11.0",
            "machine": "a GPU",
            "checks": [
                {"name": "doctor", "passed": True, "failure": None, "seconds": 1.25},
                {"name": "losses", "passed": False, "failure": "3 | 4", "seconds": 2},
            ],
            "figures": {
                "training": [{**training, "images_s": 123456.7}],
                "time_to_99": {"seconds": 1.5, "epochs": 2, "test_accuracy": 0.9912},
                "prediction": None,
                "pytorch": [
                    {"what": "training", "variant": "eager", **training, "images_s": 1000.4},
                    {"what": "training", "variant": "torch.compile", **training, "failed": "no compiler"},
                    {"what": "prediction", "variant": "eager", "batch": 64, "images_s": 5e4, "p50_us": 90, "p99_us": 95},
                ],
            },
        }
        page = report.page(result)
        for line in (
            "| doctor | passed | 1.2 |",
            "| losses | FAILED: 3 \\| 4 | 2.0 |",
            "| deep | float32 | 100 | 123 457 | 1 000 |  |",
            "| digitd | 1.50 | 2 | 99.12 % |",
            "| eager | 64 | 50 000 | 90 | 95 |",
        ):
            self.assertIn(line, page)


if __name__ == "__main__":
    unittest.main()
