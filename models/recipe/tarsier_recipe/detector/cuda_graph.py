"""A training step as one CUDA graph for each picture size.

A step of this student is some three thousand small kernels. Launched one by one from Python they keep the GPU waiting;
recorded once, they are launched together.
"""

import collections

import torch

WARM_UP = 3  # steps that are done, not recorded: libraries choose their algorithms in them
AHEAD = 2  # steps that may wait for the device, so that the clock that rules the schedule is not far from the truth


class Graphed:
    """`step(*tensors)` recorded at the first call with tensors of new shapes; then the recording is played with the new
    values.

    `step` must not depend on anything else that changes on the host, nor wait for the device. `alike` tells shapes
    apart beyond the tensors' own (a picture size, say) and is handed to it first.
    """

    def __init__(self, step):
        self.step, self.recorded, self.pool, self.pending = step, {}, None, collections.deque()

    def __call__(self, alike, *tensors):
        key = (alike, *(t.shape for t in tensors))
        if key not in self.recorded:
            self.recorded[key] = self.record(alike, tensors)
        else:
            graph, inputs = self.recorded[key]
            for mine, given in zip(inputs, tensors):
                mine.copy_(given.pin_memory(), non_blocking=True)  # from pageable memory it would wait
            graph.replay()
        done = torch.cuda.Event()
        done.record()
        self.pending.append(done)
        if len(self.pending) > AHEAD:
            self.pending.popleft().synchronize()

    def record(self, alike, inputs):
        inputs = [t.to("cuda", copy=True) for t in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.step(alike, *inputs)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            self.step(alike, *inputs)
        self.pool = self.pool or graph.pool()
        return graph, inputs
