"""An optimizer's state as flat arrays, `<parameter name>/<state key>`, and back."""

from collections.abc import Mapping

import numpy as np
import torch

from deepseek_runtime.feed import Tensors


def read_moments(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> Tensors:
    """Copies. Tensors become float32 (0-d ones too), numbers 0-d int64 or float64. `names`: id(parameter) -> its name.

    Parameters that `names` lacks are left out.
    """
    moments = {}
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        if name is None:
            continue
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                moments[f"{name}/{key}"] = value.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()
            elif isinstance(value, int | float):
                moments[f"{name}/{key}"] = np.asarray(value)
    return moments


def write_moments(optimizer: torch.optim.Optimizer, names: Mapping[int, str], moments: Tensors) -> None:
    """Replaces the optimizer's state; parameters without moments start anew, so an empty mapping resets it.

    Names that the optimizer does not have are passed over: the job's optimizer may have changed since.
    """
    state: dict[str, dict[str, object]] = {}
    for path, array in moments.items():
        name, _, key = path.rpartition("/")
        number = array.ndim == 0 and array.dtype != np.float32
        value = array.item() if number else torch.from_numpy(np.array(array))
        state.setdefault(name, {})[key] = value
    numbered = {}
    place = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            own = state.get(names.get(id(parameter), ""))
            if own:
                numbered[place] = own
            place += 1
    # load_state_dict casts and moves each value as this optimizer wants it (Adam's step, fused or not).
    optimizer.load_state_dict({"state": numbered, "param_groups": optimizer.state_dict()["param_groups"]})
