"""Checks an ONNX file, and prints its inputs, outputs and the probabilities of images: read_onnx.py MODEL PIXELS."""

import json
import sys

import numpy
import onnx
import onnxruntime

model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(taken,) = session.get_inputs()
(given,) = session.get_outputs()
pixels = numpy.fromfile(sys.argv[2], dtype=numpy.uint8).astype(numpy.float32) / 255
pixels = pixels.reshape(-1, *taken.shape[1:])
(probabilities,) = session.run([given.name], {taken.name: pixels})
print(json.dumps({
    "input": [taken.name, taken.shape],
    "output": [given.name, given.shape],
    "producer": model.producer_name,
    "metadata": {entry.key: entry.value for entry in model.metadata_props},
    "probabilities": probabilities.astype(float).tolist(),
}))
