"""torch-fidelity's metrics on features that are there already, as the other side of `npm run bench:metrics`.

Prints one line of JSON: version, peak memory in bytes, milliseconds of processor and wall time of each part, the values. Reading
the arrays and importing the libraries is not counted. Needs torch, torch-fidelity and numpy.

    python fidelity_metrics.py FOLDER THREADS     FOLDER holds fake.npy, real.npy and logits.npy, float32
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric


def peak_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    fake, real, logits = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("fake", "real", "logits"))
    work = {
        "frechet": lambda: fid_statistics_to_metric(
            fid_features_to_statistics(fake), fid_features_to_statistics(real), False
        ),
        "kid": lambda: kid_features_to_metric(fake, real, kid_subsets=100, kid_subset_size=1000, verbose=False),
        "inception-score": lambda: isc_features_to_metric(logits),
        "prdc": lambda: prc_features_to_metric(fake, real, prc_neighborhood=3, verbose=False),
    }
    parts, values = {}, {}
    for name, run in work.items():
        busy, wall = time.process_time(), time.perf_counter()
        values.update(run())
        parts[name] = {"busy": 1e3 * (time.process_time() - busy), "wall": 1e3 * (time.perf_counter() - wall)}
    print(json.dumps({"version": version("torch-fidelity"), "peakBytes": peak_bytes(), "parts": parts, "values": values}))


main()
