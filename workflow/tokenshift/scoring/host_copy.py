"""Columns on their way from a GPU to the host, which need not wait for them while the GPU goes on."""

import numpy as np
import torch
from torch import Tensor


class HostCopy:
    """A copy of `columns`, (N, ...) each, into the host's memory: on a GPU in one piece for each type of number."""

    def __init__(self, columns: dict[str, Tensor]):
        self._columns, self._copied = columns, None
        if all(values.is_cuda for values in columns.values()):
            names: dict[torch.dtype, list[str]] = {}
            for name, values in columns.items():
                names.setdefault(values.dtype, []).append(name)
            self._pieces = [(of_type, self._begun([columns[name] for name in of_type])) for of_type in names.values()]
            self._shapes = {name: values.shape for name, values in columns.items()}
            self._columns = {}
            self._copied = torch.cuda.Event()
            self._copied.record()

    @staticmethod
    def _begun(columns: list[Tensor]) -> Tensor:
        """The columns side by side, (N, all their widths), in memory of the host into which they are being copied."""
        piece = torch.cat([values.flatten(1) if values.ndim > 1 else values[:, None] for values in columns], dim=1)
        return torch.empty(piece.shape, dtype=piece.dtype, pin_memory=True).copy_(piece, non_blocking=True)

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns, once they have arrived."""
        if self._copied is None:
            return {name: values.cpu().numpy() for name, values in self._columns.items()}
        self._copied.synchronize()
        arrays = {}
        for names, piece in self._pieces:
            widths = [self._shapes[name][1:].numel() for name in names]
            for name, values in zip(names, piece.split(widths, dim=1), strict=True):
                arrays[name] = values.reshape(self._shapes[name]).numpy()
        return arrays
