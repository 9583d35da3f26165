"""Which operations make large tensors."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LargeTensors(TorchDispatchMode):
    """Lists the operations in its block that made a tensor of at least ``size`` elements: no view, nothing in place."""

    def __init__(self, size):
        super().__init__()
        self.size, self.made_by = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        is_new = isinstance(result, torch.Tensor) and not func.is_view and not func._schema.is_mutable
        if is_new and result.numel() >= self.size:
            self.made_by.append(func)
        return result
