"""The programs that a check runs: digitd on the device that is checked, and the load generator."""

import contextlib
import importlib.util
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

# The libtorch that digitd is built for.
TORCH = "2.11."

# No command of a check takes this many seconds if the device works.
LONGEST = 150

# The order is that of cuda_calls.c.
COUNTERS = ["stream_synchronize", "device_synchronize", "event_synchronize", "memcpy", "memcpy_async", "launch"]
WAITS = COUNTERS[:4]


class Failure(Exception):
    """A check whose result is not the expected one."""


def expect(holds, message):
    if not holds:
        raise Failure(message)


def torch_libraries():
    """The folder of the libraries of Python's torch, None if its version does not fit; and a description of it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None, "this Python has no torch"
    folder = Path(spec.submodule_search_locations[0])
    text = (folder / "version.py").read_text()
    version = re.search(r"__version__\s*=\s*'([^']+)'", text).group(1)
    if not version.startswith(TORCH):
        return None, f"this Python's torch is {version}; digitd needs {TORCH}x"
    return folder / "lib", f"torch {version} at {folder}"


class Kit:
    """The folder of programs and data."""

    def __init__(self, folder):
        self.folder = folder
        self.digitd = folder / "digitd"
        candidates = [folder / "load", folder / "examples/load"]
        self.load = next((path for path in candidates if path.exists()), candidates[0])
        for path in (self.digitd, self.load):
            expect(path.exists(), f"there is no {path}: run `make gpu-kit`, or name a folder by --kit")

    @property
    def mnist(self):
        """The folder of MNIST's files; None if the kit has none."""
        names = [self.folder / "mnist", os.environ.get("DIGITD_DATA_DIR")]
        for folder in map(Path, filter(None, names)):
            if any(folder.glob("t10k-images-idx3-ubyte*")):
                return folder.resolve()
        return None

    def cuda_calls(self, scratch):
        """The library that counts calls of the CUDA runtime; compiled if the kit has none."""
        ready = self.folder / "cuda_calls.so"
        if ready.exists():
            return ready
        library = scratch / "cuda_calls.so"
        source = HERE / "cuda_calls.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        return library


class Program:
    """digitd with one device, one store and one place for its data."""

    def __init__(self, kit, device, scratch, deadline=math.inf):
        self.kit, self.device, self.scratch, self.deadline = kit, device, scratch, deadline
        self.store = scratch / "store"
        self.environment = {
            **os.environ,
            "DIGITD_STORE_URL": str(self.store),
            "DIGITD_COMPUTE_DEVICE": device,
            "DIGITD_DATA_DIR": str(kit.mnist or scratch / "no-data"),
            "DIGITD_DATA_FETCH": "never",
            "DIGITD_LOG_LEVEL": "warn",
            "NO_COLOR": "1",
        }
        libraries, self.libtorch = torch_libraries()
        if libraries:
            before = os.environ.get("LD_LIBRARY_PATH")
            self.environment["LD_LIBRARY_PATH"] = f"{libraries}:{before}" if before else str(libraries)
        self.server = None

    def run(self, *arguments, check=True, environment=None, **options):
        """Runs digitd to its end; returns its standard output if it succeeded."""
        command = [self.kit.digitd, *map(str, arguments)]
        done = self.finish(command, {**self.environment, **(environment or {})}, **options)
        if not check:
            return done
        expect(done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {output_end(done)}")
        return done.stdout

    def finish(self, command, environment, **options):
        """Runs a command to its end; fails if it takes too long or the time is over."""
        seconds = max(1, min(LONGEST, self.deadline - time.monotonic()))
        try:
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=seconds, **options
            )
        except subprocess.TimeoutExpired as expired:
            raise Failure(f"{' '.join(map(str, command))} did not end within {seconds:.0f} seconds") from expired

    def client(self, *arguments, **options):
        """Runs a command against the running server."""
        return self.run(*arguments, "--server", self.server.grpc, **options)

    def request(self, request):
        """The file of a training request."""
        file = tempfile.NamedTemporaryFile("w", dir=self.scratch, suffix=".json", delete=False)
        with file:
            json.dump(request, file)
        return file.name

    def train(self, request, *flags):
        """Trains on the running server and returns the run's events; the run must publish a version."""
        events = lines(self.client("train", "--json", "--request", self.request(request), *flags))
        finished = events[-1].get("finished", {})
        expect(finished.get("state") == "RUN_STATE_COMPLETED", f"the run ended so: {finished}")
        return events

    def start_run(self, request, *flags):
        """Starts a run on the running server whose events are read as they arrive."""
        command = [self.kit.digitd, "train", "--json", "--server", self.server.grpc]
        command += ["--request", self.request(request), *flags]
        return Run(command, self.environment)

    def generate_load(self, *options, model="digits"):
        command = [self.kit.load, "--server", self.server.grpc, "--model", model, *map(str, options)]
        done = self.finish(command, self.environment)
        expect(done.returncode == 0, f"the load generator failed: {output_end(done)}")
        figures = json.loads(done.stdout)
        expect(figures["failed_calls"] == 0, f"{figures['failed_calls']} calls failed: {figures['failure']}")
        return figures

    @contextlib.contextmanager
    def serving(self, *flags, environment=None):
        """A server on free ports."""
        command = [self.kit.digitd, "serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", *flags]
        environment = {**self.environment, **(environment or {})}
        with Server(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)) as server:
            before, self.server = self.server, server
            try:
                yield server
            finally:
                self.server = before


class Server:
    def __init__(self, child):
        self.child = child
        # A server that hangs while it starts is killed, which ends the reading.
        guard = threading.Timer(LONGEST, child.kill)
        guard.start()
        line = child.stdout.readline()
        guard.cancel()
        found = re.search(r"grpc=(\S+)", line)
        expect(found, f"the server did not start: {line!r}")
        self.grpc = f"http://{found.group(1)}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Run:
    """A run that a command of its own watches."""

    def __init__(self, command, environment):
        self.errors = tempfile.TemporaryFile("w+")
        pipes = {"stdout": subprocess.PIPE, "stderr": self.errors}
        self.child = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.events = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.child.wait()
            self.changed.notify_all()

    def wait_for(self, kind, seconds=60):
        """The first event of a kind."""
        found = lambda: next((event for event in self.events if kind in event), None)
        with self.changed:
            self.changed.wait_for(lambda: found() or self.child.poll() is not None, seconds)
            expect(found(), f"there was no event {kind!r}: {self.events[-1:]} {self._errors()}")
            return found()

    def _errors(self):
        self.errors.seek(0)
        return self.errors.read().strip()

    def stop(self):
        """Cancels the run as Ctrl-C does: the server keeps a checkpoint. Returns the last event."""
        self.child.send_signal(signal.SIGINT)
        self.reader.join(60)
        expect(not self.reader.is_alive(), f"the run did not stop: {self.events[-1:]}")
        return self.events[-1]


class Counters:
    """The calls that a process with cuda_calls.so has made so far."""

    def __init__(self, path):
        self.path = path

    def read(self):
        numbers = struct.unpack(f"{len(COUNTERS)}Q", self.path.read_bytes())
        return dict(zip(COUNTERS, numbers))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def output_end(done):
    """The end of a command's output."""
    return (done.stderr.strip() or done.stdout.strip())[-1000:]


def log(message):
    print(message, file=sys.stderr, flush=True)
