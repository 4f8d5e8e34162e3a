"""An index changes how fast a data set opens, and nothing else."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hands_lib.data import index_cache, interhand26m
from hands_lib.data.errors import DataError
from hands_lib.data.interhand26m import InterHand26M


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(index_cache, "SMALLEST", 0)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def opened(generated, cache):
    """Opens the generated capture; the second argument says whether its files may be read."""

    def open_capture(root=generated, from_index=False):
        with pytest.MonkeyPatch.context() as patch:
            if from_index:
                patch.setattr(
                    interhand26m, "read_release", lambda *_: pytest.fail("the files were read again")
                )
            return InterHand26M(root, cache=cache)

    return open_capture


def the_index(cache):
    (path,) = cache.rglob("*.safetensors")
    return path


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.sample.joints, b.sample.joints)
        assert torch.equal(a.sample.joint_valid, b.sample.joint_valid)
        assert torch.equal(a.image_joint_valid, b.image_joint_valid)
        assert torch.equal(a.sample.camera.intrinsics, b.sample.camera.intrinsics)
        assert torch.equal(a.sample.camera.camera_from_world, b.sample.camera.camera_from_world)
        assert torch.equal(a.bbox, b.bbox)
        assert (a.image_path, a.sequence, a.camera_id) == (b.image_path, b.sequence, b.camera_id)
        assert (a.hand_type, a.capture, a.frame_index) == (b.hand_type, b.capture, b.frame_index)


def test_the_second_opening_reads_the_index_and_gives_the_same(generated, opened, cache):
    plain = InterHand26M(generated, cache=cache)
    assert_same(plain, opened())
    assert_same(plain, opened(from_index=True))
    assert not list(generated.rglob("*.safetensors"))


def test_small_files_are_not_indexed(generated, cache, monkeypatch):
    monkeypatch.setattr(index_cache, "SMALLEST", 1 << 24)
    InterHand26M(generated, cache=cache)
    assert not cache.exists()


def test_a_damaged_index_is_made_again_with_a_message(generated, opened, cache, caplog):
    first = opened()
    content = bytearray(the_index(cache).read_bytes())
    content[-1] ^= 0x10
    the_index(cache).write_bytes(content)
    again = opened()
    assert any("made again" in message for message in caplog.messages)
    assert_same(first, again)
    assert_same(first, opened(from_index=True))


def test_changed_files_make_a_new_index(copy, edit, cache, opened):
    assert opened(copy)[4].sequence == "0003_dh"

    def rename(content):
        content["images"][4]["seq_name"] = "0004_dh"

    edit("data", rename)
    assert opened(copy)[4].sequence == "0004_dh"
    edit("data", lambda content: content.pop("images"))
    with pytest.raises(DataError, match="lists no images"):
        opened(copy)


def test_a_cache_that_cannot_be_written_costs_only_a_message(generated, tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    dataset = InterHand26M(generated, cache=blocked)
    assert any("nothing is kept there" in message for message in caplog.messages)
    assert_same(dataset, InterHand26M(generated, cache=tmp_path / "cache"))


def test_many_openings_at_once_agree(generated, cache):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: InterHand26M(generated, cache=cache), range(8)))
    for other in found[1:]:
        assert_same(found[0], other)
    assert len(list(cache.rglob("*"))) == 2  # the folder of indices, and one index


def test_a_moved_data_set_is_read_again(generated, cache, tmp_path, opened):
    opened()
    moved = shutil.copytree(generated, tmp_path / "moved")
    assert opened(moved)[0].image_path.is_relative_to(moved)
    assert len(list(cache.rglob("*.safetensors"))) == 2
