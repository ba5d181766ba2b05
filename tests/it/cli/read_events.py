"""Prints what TensorBoard's own reader finds in a folder of event files, as JSON."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import (
    HISTOGRAMS,
    IMAGES,
    SCALARS,
    EventAccumulator,
)

# 0 keeps everything; by default the reader samples long runs.
events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0, HISTOGRAMS: 0, IMAGES: 0})
events.Reload()
tags = events.Tags()
found = {"scalars": {}, "histograms": {}, "images": {}}
for tag in tags["scalars"]:
    found["scalars"][tag] = [[event.step, event.value] for event in events.Scalars(tag)]
for tag in tags["histograms"]:
    found["histograms"][tag] = [[event.step, event.histogram_value.num] for event in events.Histograms(tag)]
for tag in tags["images"]:
    found["images"][tag] = [[event.step, event.width, event.height] for event in events.Images(tag)]
print(json.dumps(found))
