"""What is kept is what was made: through damage, kills, other processes, and folders nobody can write."""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reproduce.test_checkpoints import full_disk, somebody_else

from hands_lib import cache
from hands_lib.cache import clear, entries, entry_path, is_being_made, made_once, made_with_facts

KEY = {"split": "val", "seed": 3}
DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool,
]  # fmt: skip


def tensors(seed: int = 0, size: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {str(dtype): torch.randint(0, 2, (2, size), generator=generator).to(dtype) for dtype in DTYPES}
    turned = torch.randn(size, 3, generator=generator).T
    return made | {"turned": turned, "one": torch.tensor(0.5), "none": torch.zeros(0, 3)}


def few() -> dict[str, torch.Tensor]:
    return {"few": torch.arange(3.0)}


class Maker:
    """Counts its calls."""

    def __init__(self, seed: int = 0):
        self.calls, self.seed = 0, seed

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return tensors(self.seed)


def refused() -> dict[str, torch.Tensor]:
    pytest.fail("was in the cache")


def assert_same(found, expected) -> None:
    assert list(found) == sorted(expected)
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert torch.equal(found[name], value)
        assert found[name].is_contiguous()


@pytest.fixture(autouse=True)
def said_anew():
    cache._warn_once.cache_clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(root: Path) -> list[Path]:
    """Whatever lies in the folders of kinds."""
    return sorted(root.glob("*/*"))


def test_the_folder_can_be_named(monkeypatch):
    for name in ("HANDS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value, folder in (
        ("HOME", "/home/me", "/home/me/.cache/hands"),
        ("XDG_CACHE_HOME", "/fast", "/fast/hands"),
        ("HANDS_CACHE", "/own", "/own"),
    ):
        monkeypatch.setenv(name, value)
        assert entry_path("toys", KEY).parent == Path(folder, "toys")


def test_what_is_kept_is_what_was_made(root):
    for make in (Maker(), refused):
        assert_same(made_once("toys", KEY, make, folder=root), tensors())
    assert files(root) == [entry_path("toys", KEY, root)]


def test_facts_are_as_json_gives_them_also_the_first_time(root):
    facts = {"drawn": {"é\n": (1, 2.5)}, "none": None}
    for make in (lambda: (tensors(), facts), refused):
        found, about = made_with_facts("toys", KEY, make, folder=root)
        assert about == {"drawn": {"é\n": [1, 2.5]}, "none": None}
        assert_same(found, tensors())


def test_bytes_are_the_same_every_time(root, tmp_path):
    for folder in (root, tmp_path / "other"):
        made_once("toys", KEY, Maker(), folder=folder)
    assert files(root)[0].read_bytes() == files(tmp_path / "other")[0].read_bytes()


def test_the_digest_is_of_names_types_shapes_values_and_text():
    one = torch.arange(6, dtype=torch.int32)
    all_of_them = [
        cache.digest(*arguments)
        for arguments in (
            [{"a": one}], [{"a": one}, "text"], [{"b": one}], [{"a": one.view(torch.float32)}],
            [{"a": one.reshape(2, 3)}], [{"a": one + 1}], [{"a": one, "b": one}], [{"a": one[:5]}], [{}],
        )
    ]  # fmt: skip
    assert len(set(all_of_them)) == len(all_of_them)
    pair = {"a": one, "b": one + 1}
    assert cache.digest(pair) == cache.digest(dict(reversed(pair.items())))


def test_keys_and_kinds_tell_entries_apart(root):
    made_once("toys", KEY, Maker(), folder=root)
    made_once("toys", {"seed": 3, "split": "val"}, refused, folder=root)  # the order says nothing
    for kind, key in (("toys", KEY | {"seed": 4}), ("toys", "val"), ("games", KEY)):
        assert_same(made_once(kind, key, Maker(1), folder=root), tensors(1))
    assert len(files(root)) == 4
    for kind in ("", "../toys", "Toys", "a/b"):
        with pytest.raises(ValueError, match="a kind of the cache is called .*: use a-z"):
            made_once(kind, KEY, refused, folder=root)


def test_changing_a_tensor_in_place_changes_no_file(root):
    made_once("toys", KEY, Maker(), folder=root)
    for value in made_once("toys", KEY, refused, folder=root).values():
        value.zero_()
    assert_same(made_once("toys", KEY, refused, folder=root), tensors())


def test_errors_of_the_maker_are_its_own(root):
    def broken():
        raise OSError("no photographs")

    with pytest.raises(OSError, match="no photographs"):
        made_once("toys", KEY, broken, folder=root)
    assert files(root) == []
    assert_same(made_once("toys", KEY, Maker(), folder=root), tensors())


# --- damage --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    made_with_facts("toys", KEY, lambda: (tensors(), {"é": 1}), folder=path)
    return entry_path("toys", KEY, path)


def assert_mended(path: Path, damaged: bytes, caplog) -> None:
    good = path.read_bytes()
    path.write_bytes(damaged)
    make = Maker()
    caplog.clear()
    found, facts = made_with_facts("toys", KEY, lambda: (make(), {"é": 1}), folder=path.parents[1])
    assert make.calls == 1
    (line,) = caplog.messages
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("): it is made again")
    assert_same(found, tensors())
    assert facts == {"é": 1}
    assert path.read_bytes() == good
    assert_same(made_once("toys", KEY, refused, folder=path.parents[1]), tensors())


def test_every_single_flipped_bit_of_an_entry_is_found(root):
    about = {"drawn": ["é", 1]}
    made_with_facts("toys", "k", lambda: ({"ab": torch.arange(3.0)}, about), folder=root)
    path = entry_path("toys", "k", root)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(cache._DamagedError):
            cache._load(path, '"k"')


fuzz = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzz
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found_and_mended(whole, caplog, data):
    content = bytearray(whole.read_bytes())
    # Header and numbers, each half of the time; the header is longer than these numbers.
    header = 8 + int.from_bytes(content[:8], "little")
    first, last = data.draw(st.sampled_from([(0, header - 1), (header, len(content) - 1)]))
    content[data.draw(st.integers(first, last))] ^= 1 << data.draw(st.integers(0, 7))
    assert_mended(whole, bytes(content), caplog)


@fuzz
@given(data=st.data())
def test_a_file_cut_or_with_other_bytes_is_found_and_mended(whole, caplog, data):
    content = whole.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.binary(max_size=20))
    damaged = content[:start] + other + data.draw(st.sampled_from([b"", content[start + len(other) :]]))
    if damaged != content:
        assert_mended(whole, damaged, caplog)


def test_an_intact_file_under_another_entrys_name_is_found(root, caplog):
    other = KEY | {"seed": 4}
    for key, seed in ((KEY, 0), (other, 1)):
        made_once("toys", key, Maker(seed), folder=root)
    os.replace(entry_path("toys", other, root), entry_path("toys", KEY, root))
    assert_same(made_once("toys", KEY, Maker(), folder=root), tensors())
    assert "it belongs to another key" in caplog.text


@pytest.mark.parametrize("what", ["folder", "fifo", "link to nothing"])
def test_something_else_in_the_place_of_an_entry(root, caplog, what):
    path = entry_path("toys", KEY, root)
    path.parent.mkdir(parents=True)
    {"folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}.get(what, lambda: path.symlink_to("nothing"))()
    assert_same(made_once("toys", KEY, Maker(), folder=root), tensors())
    assert len(caplog.messages) == (what == "folder")  # nothing can take its place


# --- processes -----------------------------------------------------------------------------------------


def _ask(root, starting, made, go_on) -> None:
    def make():
        made.put(os.getpid())
        go_on.wait()
        return tensors()

    starting.put(os.getpid())
    assert_same(made_once("toys", KEY, make, folder=root), tensors())


def test_two_processes_at_once_make_it_once(root):
    context = multiprocessing.get_context("fork")
    starting, made, go_on = context.Queue(), context.Queue(), context.Event()
    processes = [context.Process(target=_ask, args=(root, starting, made, go_on)) for _ in range(3)]
    for process in processes:
        process.start()
    for _ in processes:
        starting.get()
    made.get()  # one makes it, the others wait or are about to
    assert is_being_made(entry_path("toys", KEY, root))
    go_on.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert made.empty()
    assert not is_being_made(entry_path("toys", KEY, root))
    assert files(root) == [entry_path("toys", KEY, root)]


def test_who_waited_for_a_lock_that_is_deleted_takes_a_new_one(root, monkeypatch):
    path, waiting, flock = entry_path("toys", KEY, root), threading.Event(), cache.fcntl.flock
    busy: list[bool] = []

    def wait() -> None:
        with cache._lock(path):
            busy.append(is_being_made(path))

    def tell(*arguments) -> None:
        waiting.set()
        flock(*arguments)

    with cache._lock(path):
        monkeypatch.setattr(cache.fcntl, "flock", tell)
        other = threading.Thread(target=wait)
        other.start()
        waiting.wait()  # it has opened the file that is deleted now
    other.join()
    assert busy == [True]
    assert files(root) == []


def _killed_before_line(number: int, root: Path) -> bool:
    """Whether a process that is killed before its so-manieth line in cache.py is there to be killed."""
    child = os.fork()
    if not child:
        left = number

        def count(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename != cache.__file__:
                return None
            left -= event == "line"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return count

        try:
            sys.settrace(count)
            made_once("toys", KEY, few, folder=root)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_process_may_be_killed_at_any_moment(root, caplog):
    number = 0
    while _killed_before_line(number, root / str(number)):
        again = root / str(number)
        for make in (few, refused):
            assert_same(made_once("toys", KEY, make, folder=again), few())
        clear(folder=again)
        assert files(again) == []
        number += 1
    assert number > 30
    assert caplog.messages == []  # nobody ever sees half an entry


# --- folders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["file", "file/below", "/proc/none", "/dev/null", "x" * 300, "/".join(["x" * 100] * 100)],
    ids=["file", "below a file", "proc", "null", "long", "longer"],
)
def test_an_impossible_folder_costs_one_line_not_the_result(tmp_path, caplog, name):
    (tmp_path / "file").write_text("not a folder")
    folder = tmp_path / name
    make = Maker()
    for seed in (1, 1, 2):
        assert_same(made_once("toys", KEY | {"seed": seed}, make, folder=folder), tensors())
    assert make.calls == 3
    (line,) = caplog.messages
    assert line.startswith(f"{folder / 'toys'}: nothing is kept there (")
    assert "set $HANDS_CACHE to a folder that can be written" in line
    assert not is_being_made(entry_path("toys", KEY, folder))
    assert len(entries(folder)) == 1
    assert clear(folder=folder) == [f"{folder}: deleted 0 entries, 0.0 MB"]


def test_a_user_without_a_home(monkeypatch, caplog):
    monkeypatch.delenv("HANDS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert_same(made_once("toys", KEY, Maker()), tensors())
    assert "nothing is kept there" in caplog.text


def test_a_read_only_cache_is_used(caplog):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to everybody else
        root = Path(name)
        made_once("toys", KEY, Maker(), folder=root)
        for folder in (root, root / "toys"):
            folder.chmod(0o555)
        try:
            with somebody_else():
                assert_same(made_once("toys", KEY, refused, folder=root), tensors())
                assert caplog.messages == []
                for seed in (1, 2):  # of another kind of entry, too
                    assert_same(made_once("toys", KEY | {"seed": seed}, Maker(), folder=root), tensors())
                (line,) = caplog.messages
                assert f"{root / 'toys'}: nothing is kept there (Permission denied)" in line
                with pytest.raises(PermissionError):
                    clear(folder=root)
        finally:
            for folder in (root, root / "toys"):
                folder.chmod(0o755)
        assert files(root) == [entry_path("toys", KEY, root)]


def test_a_full_disk(tmp_path, caplog):
    """An entry that does not fit harms none that is there, and space makes good."""

    def large():
        return {"zeros": torch.zeros(10**5)}

    with full_disk(tmp_path / "disk") as disk:
        made_once("toys", KEY, Maker(), folder=disk)
        for _ in range(2):
            assert torch.equal(made_once("toys", "large", large, folder=disk)["zeros"], large()["zeros"])
        (line,) = caplog.messages
        assert line.startswith(f"{disk / 'toys'}: nothing is kept there (")
        assert "free some space" in line
        assert files(disk) == [entry_path("toys", KEY, disk)]
        made_once("toys", KEY, refused, folder=disk)
        made_once("toys", "small", Maker(), folder=disk)
        made_once("toys", "small", refused, folder=disk)


# --- size ----------------------------------------------------------------------------------------------


def test_entries_used_longest_ago_go_first(root, monkeypatch):
    paths = [entry_path("toys", seed, root) for seed in range(4)]
    for seed in range(3):
        made_once("toys", seed, Maker(), folder=root)
        os.utime(paths[seed], (seed, seed))
    made_once("toys", 0, refused, folder=root)  # now the one used last
    own = root / "toys" / "notes.safetensors"
    own.write_bytes(b"x" * 10**6)  # no entry: neither counted nor deleted
    size = paths[0].stat().st_size
    monkeypatch.setenv("HANDS_CACHE_GB", str(3 * size / 1e9))
    made_once("toys", 3, Maker(), folder=root)
    assert [path.exists() for path in paths] == [True, False, True, True]
    monkeypatch.setenv("HANDS_CACHE_GB", str(2 * size / 1e9))
    os.utime(paths[0], (5, 5))
    made_once("games", 0, Maker(), folder=root)  # all kinds count together
    assert [path.exists() for path in paths] == [False, False, False, True]
    assert own.exists()


def test_an_entry_larger_than_the_cache_may_be(root, monkeypatch, caplog):
    made_once("toys", "old", Maker(), folder=root)
    monkeypatch.setenv("HANDS_CACHE_GB", "1e-7")
    for _ in range(2):
        assert_same(made_once("toys", KEY, Maker(), folder=root), tensors())
    (line,) = caplog.messages
    assert line.endswith("made again each time; raise $HANDS_CACHE_GB above 1e-07")
    assert files(root) == [entry_path("toys", "old", root)]


@pytest.mark.parametrize("given", ["much", "-1", "nan"])
def test_a_limit_that_is_none_is_refused_before_anything_is_made(root, monkeypatch, given):
    monkeypatch.setenv("HANDS_CACHE_GB", given)
    with pytest.raises(ValueError, match=rf"\$HANDS_CACHE_GB is '{given}': set it to gigabytes"):
        made_once("toys", KEY, refused, folder=root)


# --- list and clear ------------------------------------------------------------------------------------


def test_entries_are_listed_by_kind(root, monkeypatch):
    monkeypatch.setenv("HANDS_CACHE", str(root))
    assert entries() == [f"{root}: 0.0 MB of at most 20 GB ($HANDS_CACHE_GB)"]
    for kind, key in (("toys", 1), ("toys", 2), ("games", 1)):
        made_once(kind, key, lambda: {"zeros": torch.zeros(10**6)})
        os.utime(entry_path(kind, key), (86400 * 365,) * 2)
    first, games, toys = entries()
    assert first.startswith(f"{root}: 12.0 MB of at most 20 GB")
    assert " ".join(games.split()) == "games 1 entries 4.0 MB, last used 1971-01-01"
    assert " ".join(toys.split()) == "toys 2 entries 8.0 MB, last used 1971-01-01"


def test_clear_deletes_entries_of_a_kind_and_nothing_else(root):
    for kind, key in (("toys", 1), ("toys", 2), ("games", 1)):
        made_once(kind, key, Maker(), folder=root)
    own = root / "toys" / "notes.safetensors"
    own.write_text("mine")
    unfinished = entry_path("toys", 3, root).with_suffix(".part")
    unfinished.mkdir()
    (unfinished / "half").write_text("left by a process that was killed")
    with pytest.raises(ValueError, match="has no kind 'toy'; there are: games, toys"):
        clear("toy", root)
    assert clear("toys", root) == [f"{root}: deleted 2 entries, 0.0 MB"]
    assert files(root) == [entry_path("games", 1, root), own]
    assert clear(folder=root) == [f"{root}: deleted 1 entries, 0.0 MB"]
    assert files(root) == [own]


def test_clear_leaves_what_is_being_made(root, monkeypatch):
    made_once("toys", 1, Maker(), folder=root)
    # In the middle of writing, half of an entry is there.
    monkeypatch.setattr(cache, "_make_room", lambda *_: clear(folder=root))
    made_once("toys", KEY, Maker(), folder=root)
    assert files(root) == [entry_path("toys", KEY, root)]


def test_clearing_while_others_read_and_write(root, caplog):
    """The same entries, asked for by three threads while a fourth clears: all get what was made."""
    caplog.set_level(logging.WARNING)
    wrong: list[Exception] = []
    done = threading.Event()

    def ask():
        try:
            for round in range(60):
                assert_same(made_once("toys", round % 3, Maker(), folder=root), tensors())
        except Exception as error:
            wrong.append(error)

    def wipe():
        while not done.is_set():
            clear(folder=root)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    wiper = threading.Thread(target=wipe)
    for thread in (wiper, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    wiper.join()
    assert wrong == []
    clear(folder=root)
    assert files(root) == []
