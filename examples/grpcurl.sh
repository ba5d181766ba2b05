#!/usr/bin/env bash
# Trains two versions with grpcurl alone, compares them, and moves the alias `production` through the gate.
#
# usage: examples/grpcurl.sh [HOST:PORT]     (a running `digitd serve`; localhost:8001 by default)
set -euo pipefail

server=${1:-localhost:8001}

call() { # call METHOD REQUEST
    grpcurl -plaintext -d "$2" "$server" "digitd.v1.$1"
}

# The data set is built in; nothing is downloaded. Events arrive while the run trains.
data='{"name": "synthetic", "max_train_images": 2000}'
call TrainingService/Train '{"dataset": '"$data"', "epochs": 1, "validation": {"count": 500}}'
call TrainingService/Train '{"dataset": '"$data"', "epochs": 3, "validation": {"count": 500}}'

# How far the newest version is from the one before: parameters, outputs, and images whose prediction changed.
call AnalysisService/CompareVersions '{"after": {"alias": "latest"}, "max_images": 1000, "max_changed": 3}'

# The alias moves only if the measured accuracy is high enough; otherwise the call fails and names the figures.
call AnalysisService/Evaluate '{"model": {"alias": "latest"}, "require": ["accuracy>=0.5"],
    "promote": {"alias": "production", "reason": "examples/grpcurl.sh"}}' >/dev/null
call RegistryService/ListAliasHistory '{"alias": "production"}'
