"""Calls a server with Triton's own client, sync and asyncio; the expected responses come on standard input."""

import asyncio
import json
import queue
import sys
import unittest
from collections.abc import Sequence

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

GIVEN = json.load(sys.stdin)
ADDRESS = GIVEN["address"]
# Test images, and the probabilities that PredictionService returns for them.
PIXELS = np.frombuffer(bytes.fromhex(GIVEN["pixels"]), np.uint8).reshape(-1, 28, 28)
EXPECTED = np.array(GIVEN["probabilities"], np.float32)
INK = (PIXELS.astype(np.float32) / 255)[:, None]


def tensor(values, datatype, name="input"):
    given = triton.InferInput(name, values.shape, datatype)
    given.set_data_from_numpy(values)
    return given


def typed(values, datatype):
    """The same in the typed field of its datatype, which the client itself never fills."""
    given = triton.InferInput("input", values.shape, datatype)
    field = {"FP32": "fp32_contents", "UINT8": "uint_contents"}[datatype]
    getattr(given._get_tensor().contents, field).extend(values.ravel().tolist())
    return given


FORMS = {
    "FP32 raw": tensor(INK, "FP32"),
    "FP32 typed": typed(INK, "FP32"),
    "FP32 flat": tensor(INK.reshape(-1, 784), "FP32"),
    "UINT8 raw": tensor(PIXELS, "UINT8"),
    "UINT8 typed": typed(PIXELS, "UINT8"),
    "UINT8 with a channel": tensor(PIXELS[:, None], "UINT8"),
}

# Rejected calls: the input, further arguments of the call, the status code, and a part of the message.
REFUSED = {
    "shape": ([tensor(INK[:, :, :27], "FP32")], {}, "INVALID_ARGUMENT", "[N, 1, 28, 28]"),
    "datatype": ([tensor(PIXELS.astype(np.int64), "INT64")], {}, "INVALID_ARGUMENT", "use FP32"),
    "name": ([tensor(PIXELS, "UINT8", "pixels")], {}, "INVALID_ARGUMENT", 'the model reads "input"'),
    "range": ([tensor(INK + 1, "FP32")], {}, "INVALID_ARGUMENT", "use 0 (background) to 1 (ink)"),
    "inputs": ([FORMS["UINT8 raw"]] * 2, {}, "INVALID_ARGUMENT", "send one"),
    "output": (
        [FORMS["UINT8 raw"]],
        {"outputs": [triton.InferRequestedOutput("logits")]},
        "INVALID_ARGUMENT",
        '"probabilities" and "label"',
    ),
    "model": ([FORMS["UINT8 raw"]], {"model_name": "letters"}, "NOT_FOUND", "letters"),
    "version": ([FORMS["UINT8 raw"]], {"model_version": "9"}, "NOT_FOUND", "version 9"),
    "alias": ([FORMS["UINT8 raw"]], {"model_version": "beta"}, "NOT_FOUND", "beta"),
    "version zero": ([FORMS["UINT8 raw"]], {"model_version": "0"}, "INVALID_ARGUMENT", "model_version"),
    "timeout": ([FORMS["UINT8 raw"]], {"timeout": 1}, "DEADLINE_EXCEEDED", "deadline"),
}


def cut(length):
    """An input whose values are shorter than its shape says."""
    given = tensor(PIXELS, "UINT8")
    given._raw_content = given._raw_content[:length]
    return given


REFUSED["length"] = ([cut(783)], {}, "INVALID_ARGUMENT", f"has {PIXELS.size}")


def call(arguments):
    inputs, further, _, _ = arguments
    return {"model_name": "digits", "inputs": inputs, **further}


def parts(prefix, messages, enums):
    """The names, numbers and types in messages and enums."""
    for message in messages:
        name = f"{prefix}.{message.name}"
        for field in message.field:
            choice = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
            yield f"{name}.{field.name}", (field.number, field.type, field.label, field.type_name, choice)
        yield from parts(name, message.nested_type, message.enum_type)
    for enum in enums:
        for value in enum.value:
            yield f"{prefix}.{enum.name}.{value.name}", value.number


class Contract(unittest.TestCase):
    def test_every_name_number_and_type_is_tritons(self):
        theirs, calls = {}, {}
        for module in [service_pb2, model_config_pb2]:
            file = FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            theirs.update(parts("", file.message_type, file.enum_type))
            calls.update((method.name, method) for service in file.service for method in service.method)
        files = FileDescriptorSet.FromString(bytes.fromhex(GIVEN["descriptors"])).file
        (file,) = (file for file in files if file.package == "inference")
        ours = dict(parts("", file.message_type, file.enum_type))
        self.assertGreater(len(ours), 100)
        for name, part in ours.items():
            self.assertEqual(part, theirs[name], name)
        (service,) = file.service
        self.assertEqual((service.name, len(service.method)), ("GRPCInferenceService", 10))
        for method in service.method:
            its = calls[method.name]
            for field in ["input_type", "output_type", "client_streaming", "server_streaming"]:
                self.assertEqual(getattr(method, field), getattr(its, field), method.name)


class Sync(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(ADDRESS)
        self.addCleanup(self.client.close)

    def check(self, result, expected=EXPECTED):
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-5)
        self.assertEqual(result.as_numpy("label").dtype, np.int64)
        np.testing.assert_array_equal(result.as_numpy("label"), expected.argmax(axis=1))

    def test_it_is_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        for version in ["", "1", "2", "latest"]:
            self.assertTrue(self.client.is_model_ready("digits", version), version)
        for name, version in [("letters", ""), ("digits", "9"), ("digits", "beta")]:
            self.assertFalse(self.client.is_model_ready(name, version), (name, version))

    def test_its_metadata(self):
        server = self.client.get_server_metadata()
        self.assertEqual(server.name, "digitd")
        self.assertIn("classification", server.extensions)
        model = self.client.get_model_metadata("digits")
        self.assertEqual((model.name, list(model.versions)), ("digits", ["1", "2"]))
        shapes = {one.name: (one.datatype, list(one.shape)) for one in [*model.inputs, *model.outputs]}
        expected = {
            "input": ("UINT8", [-1, 1, 28, 28]),
            "probabilities": ("FP32", [-1, 10]),
            "label": ("INT64", [-1]),
        }
        self.assertEqual(shapes, expected)

    def test_its_config(self):
        config = self.client.get_model_config("digits", "1").config
        self.assertEqual((config.name, config.backend, config.max_batch_size), ("digits", "digitd", 16384))
        self.assertEqual([list(one.dims) for one in config.input], [[1, 28, 28]])
        self.assertEqual([list(one.dims) for one in config.output], [[10], []])
        self.assertEqual(list(config.dynamic_batching.preferred_batch_size), [64])
        self.assertEqual((config.instance_group[0].count, config.instance_group[0].kind), (1, 2))
        self.assertEqual(config.parameters["version"].string_value, "1")
        self.assert_known(config)

    def assert_known(self, message):
        """Checks that Triton's client has a name for everything that a message carries."""
        self.assertEqual(len(UnknownFieldSet(message)), 0, message)
        for field, value in message.ListFields():
            for one in value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]:
                if isinstance(one, Message):
                    self.assert_known(one)

    def test_every_form_of_the_input(self):
        for name, given in FORMS.items():
            with self.subTest(name):
                self.check(self.client.infer("digits", [given]))

    def test_answers_are_raw_and_name_who_gave_them(self):
        result = self.client.infer("digits", [FORMS["FP32 raw"]], model_version="2", request_id="mine")
        response = result.get_response()
        self.assertEqual((response.model_name, response.model_version, response.id), ("digits", "2", "mine"))
        self.assertEqual([one.name for one in response.outputs], ["probabilities", "label"])
        lengths = [len(values) for values in response.raw_output_contents]
        self.assertEqual(lengths, [40 * len(PIXELS), 8 * len(PIXELS)])
        self.assertFalse(any(one.HasField("contents") for one in response.outputs))
        self.assertEqual(self.client.infer("digits", [FORMS["FP32 raw"]]).get_response().model_version, "2")
        self.assertEqual(
            self.client.infer("digits", [FORMS["FP32 raw"]], "1").get_response().model_version, "1"
        )

    def test_outputs_that_are_asked_for_alone(self):
        wanted = [triton.InferRequestedOutput("label")]
        result = self.client.infer("digits", [FORMS["UINT8 raw"]], outputs=wanted)
        self.assertEqual([one.name for one in result.get_response().outputs], ["label"])
        np.testing.assert_array_equal(result.as_numpy("label"), EXPECTED.argmax(axis=1))
        self.assertIsNone(result.as_numpy("probabilities"))

    def test_classification(self):
        wanted = [triton.InferRequestedOutput("probabilities", class_count=3)]
        result = self.client.infer("digits", [FORMS["UINT8 raw"]], outputs=wanted)
        texts = result.as_numpy("probabilities")
        self.assertEqual(texts.shape, (len(PIXELS), 3))
        for row, expected in zip(texts, EXPECTED):
            parts = [text.decode().split(":") for text in row]
            order = np.argsort(-expected, kind="stable")[:3]
            self.assertEqual([int(part[1]) for part in parts], order.tolist())
            self.assertEqual([part[2] for part in parts], [str(label) for label in order])
            np.testing.assert_allclose([float(part[0]) for part in parts], expected[order], atol=2e-5)

    def test_compressed_requests(self):
        self.check(self.client.infer("digits", [FORMS["FP32 raw"]], compression_algorithm="gzip"))

    def test_callbacks(self):
        answers = queue.Queue()
        for _ in range(20):
            self.client.async_infer(
                "digits", [FORMS["UINT8 raw"]], lambda result, error: answers.put((result, error))
            )
        for _ in range(20):
            result, error = answers.get(timeout=60)
            self.assertIsNone(error)
            self.check(result)

    def test_what_is_refused(self):
        for name, refused in REFUSED.items():
            with self.subTest(name), self.assertRaises(InferenceServerException) as raised:
                self.client.infer(**call(refused))
            self.assertEqual(raised.exception.status(), f"StatusCode.{refused[2]}", name)
            self.assertIn(refused[3], raised.exception.message(), name)

    def test_what_is_not_served_is_unimplemented(self):
        for missing in [
            lambda: self.client.load_model("digits"),
            lambda: self.client.get_system_shared_memory_status(),
            lambda: self.client.get_log_settings(),
        ]:
            with self.assertRaises(InferenceServerException) as raised:
                missing()
            self.assertEqual(raised.exception.status(), "StatusCode.UNIMPLEMENTED")

    def test_a_stream_lives_on_after_an_error(self):
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        for index in range(9):
            given = REFUSED["shape"] if index % 3 == 1 else ([FORMS["UINT8 raw"]], {})
            arguments = {"model_name": "digits", "inputs": given[0], "request_id": f"q{index}"}
            self.client.async_stream_infer(**arguments)
        for index in range(9):
            result, error = answers.get(timeout=60)
            if index % 3 == 1:
                self.assertIn("[N, 1, 28, 28]", error.message())
                continue
            self.assertIsNone(error)
            self.check(result)
            self.assertEqual(result.get_response().id, f"q{index}")
            self.assertTrue(result.get_response().parameters["triton_final_response"].bool_param)
        self.client.stop_stream()

    def test_an_error_of_a_stream_names_its_request(self):
        """Uses the generated stub, because the client passes on only the message."""
        refused = service_pb2.ModelInferRequest(model_name="letters", id="mine")
        refused.inputs.extend([FORMS["UINT8 raw"]._get_tensor()])
        refused.raw_input_contents.extend([FORMS["UINT8 raw"]._get_content()])
        (answer,) = self.client._client_stub.ModelStreamInfer(iter([refused]))
        self.assertIn("letters", answer.error_message)
        response = answer.infer_response
        self.assertEqual((response.id, response.model_name), ("mine", "letters"))
        self.assertEqual(response.parameters["error_code"].int64_param, 5)
        self.assertEqual(response.parameters["error_reason"].string_param, "MODEL_NOT_FOUND")

    def test_statistics_count_what_was_done(self):
        def now():
            (stats,) = self.client.get_inference_statistics("digits", "1").model_stats
            self.assertEqual((stats.name, stats.version), ("digits", "1"))
            return stats

        before = now()
        for _ in range(5):
            self.client.infer("digits", [FORMS["UINT8 raw"]], "1")
        with self.assertRaises(InferenceServerException):
            self.client.infer("digits", [FORMS["UINT8 raw"]], "1", timeout=1)
        after = now()

        def grown(*path):
            start, end = before, after
            for name in path:
                start, end = getattr(start, name), getattr(end, name)
            return end - start

        self.assertEqual(grown("inference_count"), 5 * len(PIXELS))
        self.assertEqual(grown("execution_count"), 5)
        self.assertEqual(grown("inference_stats", "success", "count"), 5)
        for name in ["success", "queue", "compute_input", "compute_infer", "compute_output"]:
            self.assertEqual(grown("inference_stats", name, "count"), 5, name)
            self.assertGreater(grown("inference_stats", name, "ns"), 0, name)
        whole = grown("inference_stats", "success", "ns")
        parts = [grown("inference_stats", name, "ns") for name in ["queue", "compute_infer"]]
        self.assertGreaterEqual(whole, sum(parts))
        sizes = {batch.batch_size: batch.compute_infer.count for batch in after.batch_stats}
        self.assertGreaterEqual(sizes[len(PIXELS)], 5)
        self.assertGreater(after.last_inference, 1_600_000_000_000)
        everything = self.client.get_inference_statistics().model_stats
        self.assertIn(("digits", "1"), [(one.name, one.version) for one in everything])
        with self.assertRaises(InferenceServerException) as raised:
            self.client.get_inference_statistics("letters")
        self.assertEqual(raised.exception.status(), "StatusCode.NOT_FOUND")

    def test_the_repository_index(self):
        index = self.client.get_model_repository_index().models
        self.assertEqual([(one.name, one.version, one.state) for one in index],
                         [("digits", "1", "READY"), ("digits", "2", "READY")])


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = triton_aio.InferenceServerClient(ADDRESS)
        self.addAsyncCleanup(self.client.close)

    check = Sync.check

    async def test_it_is_live_and_ready(self):
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())
        self.assertTrue(await self.client.is_model_ready("digits", "latest"))
        self.assertFalse(await self.client.is_model_ready("letters"))

    async def test_what_it_tells(self):
        self.assertEqual((await self.client.get_server_metadata()).name, "digitd")
        self.assertEqual((await self.client.get_model_metadata("digits")).platform, "digitd_safetensors")
        self.assertEqual((await self.client.get_model_config("digits")).config.name, "digits")
        self.assertEqual(len((await self.client.get_model_repository_index()).models), 2)
        self.assertEqual((await self.client.get_inference_statistics("digits", "2")).model_stats[0].version, "2")

    async def test_every_form_of_the_input_at_once(self):
        results = await asyncio.gather(*(self.client.infer("digits", [given]) for given in FORMS.values()))
        for result in results:
            self.check(result)

    async def test_what_is_refused(self):
        for name, refused in REFUSED.items():
            with self.assertRaises(InferenceServerException) as raised:
                await self.client.infer(**call(refused))
            self.assertEqual(raised.exception.status(), f"StatusCode.{refused[2]}", name)
            self.assertIn(refused[3], raised.exception.message(), name)

    async def test_a_stream_lives_on_after_an_error(self):
        async def questions():
            for index in range(9):
                refused = index % 3 == 1
                inputs = REFUSED["shape"][0] if refused else [FORMS["UINT8 raw"]]
                yield {"model_name": "digits", "inputs": inputs, "request_id": f"q{index}"}

        index = 0
        async for result, error in self.client.stream_infer(questions()):
            if index % 3 == 1:
                self.assertIn("[N, 1, 28, 28]", error.message())
            else:
                self.assertIsNone(error)
                self.check(result)
                self.assertEqual(result.get_response().id, f"q{index}")
            index += 1
        self.assertEqual(index, 9)


if __name__ == "__main__":
    unittest.main()
