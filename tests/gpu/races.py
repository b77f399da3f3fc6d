"""Data races of kernels in the simulator: threads that touch one number, one of them writing, with no barrier between.

The simulator runs each of a device's threads as one of Python's, so that what a kernel reads and writes can be listened
to.  Threads of one block must be kept apart by a barrier, threads of two blocks by nothing but different numbers.
"""

import contextlib
import threading
from unittest import mock

import numpy as np


class Listener:
    """What was found: races, and blocks whose threads did not meet at the same barriers."""

    def __init__(self):
        self.races, self.uneven, self.accesses = set(), set(), 0
        self._kernel, self._heard, self._shared = "", [], (0, 0)

    def begin(self, kernel):
        self._kernel, self._heard = kernel, []

    def share(self, array):
        start = array.__array_interface__["data"][0]
        self._shared = start, start + array.nbytes

    def touch(self, array, index, value=None):
        """A thread reads, or writes a value; only noted, since a lock here would make all threads wait for each."""
        thread = threading.current_thread()
        if not hasattr(thread, "blockIdx"):
            return
        index = index if isinstance(index, tuple) else (index,)
        if len(index) != array.ndim or not all(isinstance(k, (int, np.integer)) for k in index):
            return
        assert min(index) >= 0, f"{self._kernel}: index {index}, which wraps around"
        start = array.__array_interface__["data"][0]
        address = start + sum(int(k) * s for k, s in zip(index, array.strides, strict=True))
        written = None if value is None else float(value)
        self._heard.append((address, thread.blockIdx.x, thread.threadIdx.x, getattr(thread, "barriers", 0), written))

    def judge(self):
        """Look for races in the launch that has ended."""
        self.accesses += len(self._heard)
        seen = {}
        for address, block, *rest in self._heard:
            inside = self._shared[0] <= address < self._shared[1]
            others = seen.setdefault((address, block if inside else -1), set())
            here = (block, *rest)
            if here not in others and any(self._clash(here, other) for other in others):
                self.races.add((self._kernel, "shared" if inside else "global"))
            others.add(here)

    @staticmethod
    def _clash(a, b):
        if a[3] == b[3] or a[:2] == b[:2]:  # both read, or write the same
            return False
        return a[0] != b[0] or a[2] == b[2]

    def end(self, block, barriers):
        if len(set(barriers)) > 1:
            self.uneven.add((self._kernel, tuple(barriers)))


class _Heard(np.ndarray):
    """Shared memory that is listened to."""

    listener = None

    def __array_finalize__(self, base):
        self.listener = getattr(base, "listener", None)

    def __getitem__(self, index):
        result = super().__getitem__(index)
        self.listener.touch(self, index)
        return result

    def __setitem__(self, index, value):
        self.listener.touch(self, index, value)
        super().__setitem__(index, value)


@contextlib.contextmanager
def watched(poison=False):
    """A Listener to all kernels launched within; `poison` fills shared memory with NaN first."""
    from numba.cuda.simulator import kernel, kernelapi
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    listener, original = Listener(), {}

    def keep(owner, name):
        original[name] = getattr(owner, name)
        return original[name]

    def array(self, shape, dtype, alignment=None):
        result = original["array"](self, shape, dtype, alignment)
        listener.share(result)
        result = result.view(_Heard)
        result.listener = listener
        return result

    def made(self, size):
        original["__init__"](self, size)
        self._dynshared[:] = -1 if poison else 0  # all bits set: NaN in any dtype

    def get(self, index):
        result = original["__getitem__"](self, index)
        listener.touch(self._ary, index)
        return result

    def put(self, index, value):
        listener.touch(self._ary, index, value)
        return original["__setitem__"](self, index, value)

    def barrier(self):
        self.barriers = getattr(self, "barriers", 0) + 1
        return original["syncthreads"](self)

    def call(self, *args):
        listener.begin(self.fn.__name__)
        result = original["__call__"](self, *args)
        listener.judge()
        return result

    def run(self, grid_point, *args):
        threads = []
        start = kernel.BlockThread.start

        def started(thread):
            threads.append(thread)
            start(thread)

        with mock.patch.object(kernel.BlockThread, "start", started):
            original["run"](self, grid_point, *args)
        listener.end(grid_point, [getattr(t, "barriers", 0) for t in threads])

    with contextlib.ExitStack() as stack:
        for owner, name, new in (
            (kernelapi.FakeCUDAShared, "__init__", made),
            (kernelapi.FakeCUDAShared, "array", array),
            (FakeCUDAArray, "__getitem__", get),
            (FakeCUDAArray, "__setitem__", put),
            (kernel.BlockThread, "syncthreads", barrier),
            (kernel.FakeCUDAKernel, "__call__", call),
            (kernel.BlockManager, "run", run),
        ):
            keep(owner, name)
            stack.enter_context(mock.patch.object(owner, name, new))
        yield listener
