"""What operations do that a result does not show: make large tensors, wait for the device."""

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


class NoSync(TorchDispatchMode):
    """Fails at an operation in its block whose result the program has to wait for on a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))
