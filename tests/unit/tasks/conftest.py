"""One thread: these models are too small for two, and the machine has others to serve."""

import torch

torch.set_num_threads(1)
