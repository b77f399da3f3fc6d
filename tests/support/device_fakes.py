"""Objects that say they belong to a framework and lie on a GPU, in host memory: the simulator can compute with them."""

import types

import numpy as np


def interface(array, stream=None):
    """What the CUDA array interface, version 3, says of an array."""
    given = {
        "shape": array.shape,
        "strides": None if array.flags.c_contiguous else array.strides,
        "typestr": array.dtype.str,
        "data": (array.__array_interface__["data"][0], not array.flags.writeable),
        "version": 3,
    }
    return given if stream is None else {**given, "stream": stream}


class Elsewhere:
    """An array of nobody in particular."""

    def __init__(self, array, stream=None):
        self.array, self._stream = np.asarray(array), stream

    @property
    def __cuda_array_interface__(self):
        return interface(self.array, self._stream)


class Tensor:
    """A torch tensor, on the host unless a GPU is named."""

    def __init__(self, array, gpu=None, grad=False):
        self.array, self.requires_grad = np.asarray(array), grad
        self.is_cuda = gpu is not None
        self.device = types.SimpleNamespace(index=gpu, type="cuda" if self.is_cuda else "cpu")

    @property
    def __cuda_array_interface__(self):
        if not self.is_cuda:
            raise AttributeError("a tensor on the host")
        if self.requires_grad:
            raise RuntimeError("a tensor that requires grad")
        return {**interface(self.array), "version": 2}

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


Tensor.__module__ = "torch"


class CupyArray(Elsewhere):
    """A CuPy array."""

    def __init__(self, array, gpu=0, stream=1):
        super().__init__(array, stream)
        self.device = types.SimpleNamespace(id=gpu)


CupyArray.__module__ = "cupy"


def cupy_array(array, gpu=0):
    """A CuPy array on that GPU."""
    return CupyArray(array, gpu)
