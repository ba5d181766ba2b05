#!/usr/bin/env python3
"""Trains a network over gRPC and prints the run's events, from the contract in proto/ and nothing generated beforehand.

    pip install grpcio grpcio-tools
    examples/train.py --dataset synthetic --epochs 2

It needs a running `digitd serve`. Ctrl-C cancels the run, which keeps a checkpoint.
"""

import argparse
import sys
from pathlib import Path

import grpc

sys.path.append(str(Path(__file__).resolve().parent.parent / "proto"))
protos, services = grpc.protos_and_services("digitd/v1/training.proto")
messages = grpc.protos("digitd/v1/run.proto")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", default="localhost:8001")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--max-train-images", type=int)
    arguments = parser.parse_args()

    request = messages.TrainRequest(epochs=arguments.epochs)
    request.dataset.name = arguments.dataset
    if arguments.max_train_images:
        request.dataset.max_train_images = arguments.max_train_images
    with grpc.insecure_channel(arguments.server) as channel:
        training = services.TrainingServiceStub(channel)
        run_id = None
        try:
            for event in training.Train(request):
                run_id = event.run_id
                report(event)
        except KeyboardInterrupt:
            if run_id:
                training.CancelRun(protos.CancelRunRequest(run_id=run_id))
                print(f"asked the server to stop run {run_id}")
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


def report(event):
    kind = event.WhichOneof("event")
    if kind == "batch":
        print(f"epoch {event.batch.epoch} batch {event.batch.batch}: loss {event.batch.loss:.4f}")
    elif kind == "epoch":
        print(f"epoch {event.epoch.epoch}: validation accuracy {event.epoch.validation_accuracy:.2%}")
    elif kind == "finished":
        print(f"finished: version {event.finished.version}, best epoch {event.finished.best_epoch}")
    else:
        print(kind)


if __name__ == "__main__":
    main()
