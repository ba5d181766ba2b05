#!/usr/bin/env python3
"""Reads digits with Triton's client, by the Open Inference Protocol.

    pip install "tritonclient[grpc]"
    examples/predict.py                                   # two digits that are drawn below
    examples/predict.py data/t10k-images-idx3-ubyte.gz    # the first images of an IDX file

It needs a running `digitd serve` with a trained model.
"""

import argparse
import gzip

import numpy as np
import tritonclient.grpc as triton

SEVEN = """
..........
.########.
.......##.
......##..
.....##...
.....##...
....##....
....##....
....##....
..........
"""

ONE = """
..........
.....##...
....###...
.....##...
.....##...
.....##...
.....##...
.....##...
....####..
..........
"""


def drawn(text):
    """A drawing as an image of 28×28 bytes, 0 background to 255 ink, in the middle as MNIST has it."""
    rows = [[255 * (mark == "#") for mark in line] for line in text.split()]
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 4:24] = np.kron(np.array(rows, np.uint8), np.ones((2, 2), np.uint8))
    return image


def first_images(path, count):
    """The first images of an IDX file, plain or compressed with gzip."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        magic, images, height, width = np.frombuffer(file.read(16), ">i4")
        if magic != 2051:
            raise SystemExit(f"{path} is not an IDX file of images")
        pixels = file.read(int(min(count, images)) * height * width)
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", help="an IDX file of images")
    parser.add_argument("--server", default="localhost:8001")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--version", default="", help="a number or an alias; by default the served version")
    parser.add_argument("--count", type=int, default=10, help="images to read of the file")
    arguments = parser.parse_args()

    images = first_images(arguments.file, arguments.count) if arguments.file else np.stack([drawn(SEVEN), drawn(ONE)])
    tensor = triton.InferInput("input", images.shape, "UINT8")
    tensor.set_data_from_numpy(images)
    client = triton.InferenceServerClient(arguments.server)
    result = client.infer(arguments.model, [tensor], model_version=arguments.version)
    version = result.get_response().model_version
    for index, (label, probabilities) in enumerate(zip(result.as_numpy("label"), result.as_numpy("probabilities"))):
        print(f"image {index}: {label} ({probabilities[label]:.2%}), by {arguments.model} version {version}")


if __name__ == "__main__":
    main()
