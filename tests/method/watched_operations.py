"""What operations do that a result does not show: make large tensors, wait for the device."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LargeTensors(TorchDispatchMode):
    """Lists the operations in its block that made a tensor of at least ``size`` elements: no view, nothing in place."""

    def __init__(self, size):
        super().__init__()
        self.size, self.made_by = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [] if func.is_view or func._schema.is_mutable else tree_leaves(result)
        if any(isinstance(each, torch.Tensor) and each.numel() >= self.size for each in made):
            self.made_by.append(func)
        return result


class NoSync(TorchDispatchMode):
    """Fails at an operation in its block whose result the program has to wait for on a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))
