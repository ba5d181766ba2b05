"""Runs scripts/libtorch in a folder of its own with tiny wheels from a folder beside it: damage is
found and repaired, and an intact installation is left unchanged. Run by `make test`; needs no network."""

import base64
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/libtorch"
PLATFORM = "manylinux_2_28_x86_64"

TORCH = {
    "torch/include/torch/headeronly/version.h": b'#define TORCH_VERSION "2.11.0"\n',
    "torch/lib/libtorch_cpu.so": b"the processor's half",
    "torch/lib/libc10.so": b"the core",
    "torch/lib/libtorch_cuda.so": b"not wanted on a processor",
    "torch/nn/functional.py": b"not wanted at all",
}
RUNTIME = {"nvidia/cu13/lib/libcudart.so.13": b"the run-time"}


def load():
    """The script as a module of its own; it has no suffix that an import would look for."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("libtorch_script", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def write_wheel(folder, name, version, tag, files):
    """Writes a wheel that pip accepts; returns its SHA-256."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    digest = lambda content: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    record = "".join(f"{path},sha256={digest(content)},{len(content)}\n" for path, content in files.items())
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(member, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Libtorch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.wheels = self.root / "index"
        self.wheels.mkdir()
        self.script = load()
        pins = {
            "torch==2.11.0": write_wheel(self.wheels, "torch", "2.11.0", f"cp311-cp311-{PLATFORM}", TORCH),
            "nvidia-cuda-runtime==13.0.96": write_wheel(
                self.wheels, "nvidia-cuda-runtime", "13.0.96", f"py3-none-{PLATFORM}", RUNTIME
            ),
        }
        self.target = self.root / ".libtorch"
        places = {
            "ROOT": self.root,
            "TARGET": self.target,
            "PARTIAL": self.root / ".libtorch.partial",
            "LOCK": self.root / ".libtorch.lock",
            "WHEELS": pins,
            "GIGABYTES_NEEDED": {"cpu": 0.0, "cuda": 0.0},
        }
        patches = [
            mock.patch.multiple(self.script, **places),
            mock.patch.object(sys, "argv", [str(SCRIPT)]),
            mock.patch.dict(os.environ, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.wheels), DIGITD_LIBTORCH="cpu"),
        ]
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        os.environ.pop("LIBTORCH", None)
        self.pip = self.script.download
        # pip takes a second for each wheel, so only two tests run it.
        patch = mock.patch.object(self.script, "download", self.copy)
        patch.start()
        self.addCleanup(patch.stop)
        self.assertIn("no .libtorch yet", self.run_script())

    def run_script(self):
        """The output of a run; empty if the installation is intact."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(self.script.main(), 0)
        return said.getvalue()

    def copy(self, pin, digest):
        """The wheel of a pin from the folder beside it, as pip would fetch it."""
        folder = self.script.PARTIAL / "wheels"
        folder.mkdir(exist_ok=True)
        found = [path for path in self.wheels.iterdir() if hashlib.sha256(path.read_bytes()).hexdigest() == digest]
        return Path(shutil.copy(found[0], folder))

    def files(self):
        return {str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file()}

    def check_mended(self, told):
        """A run reports the damage and repairs it; the next one reports nothing."""
        self.assertIn(told, self.run_script())
        library = self.target / "lib/libtorch_cpu.so"
        self.assertEqual(library.read_bytes(), TORCH["torch/lib/libtorch_cpu.so"])
        self.assertEqual(self.run_script(), "")

    def test_only_what_is_linked_is_unpacked_and_a_second_run_is_silent(self):
        expected = {"include/torch/headeronly/version.h", "lib/libtorch_cpu.so", "lib/libc10.so"}
        expected |= {"lib/libcudart.so.13", "lib/libtorch.so", "build-version", "stamp.json"}
        self.assertEqual(self.files(), expected)
        with mock.patch.object(self.script, "sha256_of", side_effect=AssertionError("nothing was touched")):
            self.assertEqual(self.run_script(), "")
        self.assertFalse((self.root / ".libtorch.partial").exists())

    def test_a_missing_file_is_mended(self):
        self.script.download = self.pip
        (self.target / "lib/libc10.so").unlink()
        self.check_mended("lib/libc10.so is missing")

    def test_a_file_that_was_cut_short_is_mended(self):
        os.truncate(self.target / "lib/libtorch_cpu.so", 3)
        self.check_mended("has 3 bytes, not 20")

    def test_damage_of_the_same_size_is_mended(self):
        library = self.target / "lib/libtorch_cpu.so"
        before = library.stat()
        with open(library, "r+b") as file:
            file.write(b"THE")
        self.check_mended("its SHA-256 differs")
        with open(library, "r+b") as file:
            file.write(b"THE")
        os.utime(library, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.check_mended("its SHA-256 differs")

    def test_a_file_that_was_touched_but_not_changed_is_kept(self):
        library = self.target / "lib/libtorch_cpu.so"
        inode = library.stat().st_ino
        os.utime(library)
        self.assertEqual(self.run_script(), "")
        self.assertEqual(library.stat().st_ino, inode)
        with mock.patch.object(self.script, "sha256_of", side_effect=AssertionError("it was looked at before")):
            self.assertEqual(self.run_script(), "")

    def test_a_stamp_that_cannot_be_read_is_mended(self):
        stamp = self.target / "stamp.json"
        for broken in ("", "{}", stamp.read_text()[:-9]):
            stamp.write_text(broken)
            self.check_mended("has no readable stamp.json")

    def test_another_version_or_flavour_is_replaced(self):
        stamp = self.target / "stamp.json"
        stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "version": "2.10.0"}))
        self.check_mended(".libtorch is 2.10.0, not 2.11.0")
        stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "flavour": "cuda"}))
        self.check_mended(".libtorch is the cuda flavour")

    def test_what_an_interrupted_run_left_is_not_taken_for_libtorch(self):
        partial = self.root / ".libtorch.partial"
        self.target.rename(partial)
        (partial / "stamp.json").unlink()
        self.check_mended("no .libtorch yet")
        self.assertFalse(partial.exists())

    def test_a_wheel_that_is_not_the_pinned_one_is_refused_and_the_old_folder_stays(self):
        self.script.download = self.pip
        (self.target / "lib/libc10.so").unlink()
        write_wheel(self.wheels, "torch", "2.11.0", f"cp311-cp311-{PLATFORM}", {"torch/lib/libc10.so": b"foreign"})
        with self.assertRaisesRegex(self.script.Trouble, "pip could not fetch torch==2.11.0"):
            self.run_script()
        self.assertFalse((self.target / "lib/libc10.so").exists())
        self.assertTrue((self.target / "lib/libtorch_cpu.so").exists())

    def test_a_wheel_whose_files_are_not_those_of_its_record_is_refused(self):
        files = {}
        wheel = self.wheels / f"torch-2.11.0-cp311-cp311-{PLATFORM}.whl"
        with zipfile.ZipFile(wheel) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        content["torch/lib/libc10.so"] = b"THE core"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        self.script.PARTIAL.mkdir()
        with self.assertRaisesRegex(self.script.Trouble, "is not what the wheel's RECORD says"):
            self.script.unpack(wheel, "cpu", files)


if __name__ == "__main__":
    unittest.main()
