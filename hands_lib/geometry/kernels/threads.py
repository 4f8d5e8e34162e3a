"""Compiles loops with Numba and runs them on several threads.

The compiled loops release the interpreter lock, so ordinary Python threads run them side by side. Numba's own
`parallel=True` is not used on purpose: its OpenMP layer aborts the process when a data loader's worker,
forked after the first call, calls a kernel too, and its idle threads compete with torch's for the same cores.
The number of threads is `torch.get_num_threads()`, which follows OMP_NUM_THREADS.
"""

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numba
import torch


def compiled(**options) -> Callable[[Callable], Callable]:
    """Decorator: machine code that runs without the interpreter lock, kept on disk between processes.

    Where no cache folder can be written (a read-only installation without a home), it compiles in memory.
    """

    def decorate(function: Callable) -> Callable:
        # The tests' import hook wraps every function in a check of its types; loops have none.
        function = inspect.unwrap(function)
        settings = {"nogil": True, "error_model": "numpy", **options}
        try:
            return numba.njit(cache=True, **settings)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return numba.njit(**settings)(function)

    return decorate


@lru_cache(maxsize=1)
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads, thread_name_prefix="hands_lib")


# Threads do not survive a fork; a forked worker makes its own pool.
os.register_at_fork(after_in_child=_pool.cache_clear)


def for_ranges(work: Callable[[int, int], None], count: int, grain: int) -> None:
    """Calls `work(start, stop)` for ranges that cover 0..count, on several threads.

    grain   fewest items worth a thread of their own: below twice that, the caller's thread does it all
    """
    num_threads = torch.get_num_threads()
    # Four ranges a thread level out items of unequal cost.
    num_ranges = min(count // max(grain, 1), 4 * num_threads)
    if num_threads == 1 or num_ranges < 2:
        work(0, count)
        return
    bounds = [count * index // num_ranges for index in range(num_ranges + 1)]
    # list() waits for all and raises what a range raised
    list(_pool(num_threads).map(work, bounds[:-1], bounds[1:]))
