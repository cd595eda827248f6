"""Work on several layers at once. Each layer has one thread, so no operation waits for a part of itself.

The numbers do not depend on it: a layer's operations are the same, in the same order, on any number of threads.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


def for_each_layer(work: Callable[[int], _Result], layers: Sequence[int], device: torch.device) -> list[_Result]:
    """What the work returns for each layer, in order.

    On a CPU with several threads (`torch.get_num_threads`) as many layers are worked on at a time, and a single layer
    has one thread, too: each small operation on several would wait for another process that keeps the machine busy.
    What the first layer of those that fail raises, is raised as it is; layers that were not begun are left alone, also
    if Ctrl-C comes.

    Args:
        work: what is done to a layer; it must not touch what the work on another layer changes.
        layers: the layers.
        device: where most of the work is done.
    """
    n_threads = torch.get_num_threads()
    n_workers = min(n_threads, len(layers))
    if device.type != "cpu" or n_threads < 2:
        return [work(layer) for layer in layers]
    if n_workers < 2:
        torch.set_num_threads(1)
        try:
            return [work(layer) for layer in layers]
        finally:
            torch.set_num_threads(n_threads)
    in_inference, with_gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def work_as_here(layer: int) -> _Result:
        with torch.inference_mode(in_inference), torch.set_grad_enabled(with_gradients and not in_inference):
            return work(layer)

    all_begun = Barrier(n_workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first use of the number sets it, so it comes before this:
        torch.set_num_threads(1)  # of this thread, and of threads that begin from now on
        all_begun.wait()

    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="collate layers")
    try:
        try:
            for _ in range(n_workers):  # each waits for the others, so each has a thread of its own
                pool.submit(begin)
            all_begun.wait()
        finally:
            all_begun.abort()  # nobody waits on if one could not begin
            torch.set_num_threads(n_threads)
        results = [pool.submit(work_as_here, layer) for layer in layers]
        return [result.result() for result in results]
    finally:
        pool.shutdown(cancel_futures=True)
