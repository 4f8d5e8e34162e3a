import threading

import pytest
import torch
from solids import torus

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.kernels.threads import compiled, for_ranges


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "grain"), [(0, 1), (1, 1), (7, 1), (1000, 10), (5, 100)])
def test_ranges_cover_everything_once(two_threads, count, grain):
    visits = torch.zeros(count, dtype=torch.long)

    def visit(start, stop):
        visits[start:stop] += 1

    for_ranges(visit, count, grain)
    assert (visits == 1).all()


def test_little_work_stays_on_the_callers_thread(two_threads):
    names = []
    for_ranges(lambda start, stop: names.append(threading.current_thread().name), 10, grain=6)
    assert names == [threading.current_thread().name]


def test_an_error_on_a_thread_reaches_the_caller(two_threads):
    def fail(start, stop):
        raise ArithmeticError(f"at {start}")

    with pytest.raises(ArithmeticError, match="at 0"):
        for_ranges(fail, 100, grain=1)


def test_code_that_cannot_be_cached_is_compiled_all_the_same():
    """Numba refuses to cache what has no source file, as it refuses where no folder can be written."""
    namespace = {}
    exec("def add_one(number):\n    return number + 1", namespace)
    assert compiled()(namespace["add_one"])(2) == 3


class Distances(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        points = torch.rand(3000, 3, generator=torch.Generator().manual_seed(index))
        return signed_distance(points, torus()).distance


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_workers_of_a_data_loader_can_call_the_kernels(two_threads):
    """After the parent process has called them on several threads."""
    expected = torch.stack([Distances()[0], Distances()[1]])
    loader = torch.utils.data.DataLoader(
        Distances(), batch_size=2, num_workers=1, multiprocessing_context="fork", timeout=900
    )
    assert torch.equal(next(iter(loader)), expected)
