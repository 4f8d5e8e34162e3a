"""`hands untangle`: files in, files out, and every way in which that can go wrong."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from hands_lib.data.hand_pair_files import read_hand_pairs
from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose, rest_pose
from hands_lib.hand.skeleton import reorder
from hands_lib.reproduce.command import main
from hands_lib.tools import untangle as module


@pytest.fixture(scope="module")
def joints():
    """Two rest hands palm to palm, 4 mm of them in one another, then 0.3 m apart; (2, 2, 21, 3) metres."""
    right = forward_kinematics(rest_pose()).joints.double()
    left = right * torch.tensor([-1.0, 1.0, 1.0])
    left = left + torch.tensor([0.012, 0.03, 0.004])
    return torch.stack([torch.stack([right, left]), torch.stack([right, left + 0.3])])


def written(path, given, **others):
    values = {"joints": given.numpy(), "order": "freihand", "unit": "m"} | others
    np.savez(path, **{key: value for key, value in values.items() if value is not None})
    return str(path)


def test_a_file_comes_back_untangled_and_the_input_untouched(tmp_path, joints, capsys):
    source, target, report = (tmp_path / name for name in ("in.npz", "out.npz", "report.json"))
    given = torch.cat([joints, joints[:1]])
    given[2, 1] = torch.nan
    rows = reorder(given, "hands", "interhand26m") * 1000
    written(source, rows, order="interhand26m", unit="mm", truth=rows.numpy())
    before = source.read_bytes()
    assert main(["untangle", str(source), str(target), "--report", str(report)]) == 0
    assert source.read_bytes() == before
    found = read_hand_pairs(target)
    assert (found.order, found.unit) == ("interhand26m", "mm")
    assert found.valid.tolist() == [[True, True], [True, True], [True, False]]
    assert torch.allclose(found.joints[1], given[1], atol=1e-12)  # apart before, as it was after
    assert (found.joints[0] - given[0]).norm(dim=-1).max() > 1e-4
    content = json.loads(report.read_text())
    assert content["frames"] == 3
    assert content["pairs"] == 2
    assert (content["intersecting_before"], content["intersecting_after"]) == (1, 0)
    assert content["volume_before_cm3"] > 0
    assert content["volume_after_cm3"] == 0
    assert sum(content["skipped"].values()) == 1
    assert content["unsolved_frames"] == []
    assert content["mpjpe_before_mm"] == 0 < content["mpjpe_after_mm"]
    assert "intersecting: 1 pairs (50.0%) before, 0 (0.0%) after" in capsys.readouterr().out


def test_nothing_is_replaced_without_force(tmp_path, joints, capsys):
    source, target = written(tmp_path / "in.npz", joints[1:]), tmp_path / "out.npz"
    target.write_text("mine")
    assert main(["untangle", source, str(target)]) == 1
    assert target.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["untangle", source, str(target), "--force"]) == 0
    assert torch.allclose(read_hand_pairs(target).joints, joints[1:], atol=1e-12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npz", "out.npz"]  # no leftovers


def test_the_input_is_no_output_even_with_force(tmp_path, joints, capsys):
    source = written(tmp_path / "in.npz", joints)
    before = (tmp_path / "in.npz").read_bytes()
    for arguments in ([source, source], [source, str(tmp_path / "o.npz"), "--report", source]):
        assert main(["untangle", *arguments, "--force"]) == 1
        assert "never written" in capsys.readouterr().err
    assert (tmp_path / "in.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ({"order": "spiral"}, [], "spiral"),
        ({"unit": "mm"}, [], "in.npz"),  # metres said to be millimetres: no hand is that small
        ({"unit": None}, [], "unit"),
        ({"joints": np.zeros((2, 2, 20, 3))}, [], "joints"),
        ({"joints": np.full((2, 2, 21, 3), np.nan)}, [], "in.npz"),
        ({}, ["--order", "interhand26m"], "freihand"),
        ({}, ["--unit", "mm"], "unit is 'm'"),
        ({}, ["--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_is_named_and_leaves_no_output(tmp_path, joints, capsys, change, arguments, words):
    source, target = written(tmp_path / "in.npz", joints, **change), tmp_path / "out.npz"
    assert main(["untangle", source, str(target), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("hands: ")
    assert words in error
    assert not target.exists()


def plausible(frames: int) -> torch.Tensor:
    """Hands within their limits, apart; (frame, 2, 21, 3) metres."""
    right, left = (
        forward_kinematics(random_pose(frames, torch.Generator().manual_seed(seed))).joints.double()
        for seed in (1, 2)
    )
    return torch.stack([right, mirror(left) + 0.4], dim=1)


@pytest.mark.parametrize(
    ("hands", "words"),
    [
        (lambda j: j.flip(1), "right and left seem exchanged: most hands are"),
        (lambda j: torch.stack([j[:, 0], j[:, 0] + 0.4], dim=1), "both hands seem to be right hands"),
        (lambda j: torch.stack([j[:, 1] - 0.8, j[:, 1]], dim=1), "both hands seem to be left hands"),
    ],
)
def test_hands_of_the_wrong_side_are_refused(tmp_path, capsys, hands, words):
    source, target = written(tmp_path / "in.npz", hands(plausible(20))), tmp_path / "out.npz"
    assert main(["untangle", source, str(target)]) == 1
    assert words in capsys.readouterr().err
    assert not target.exists()


def test_a_noisy_estimate_keeps_its_sides(tmp_path, capsys):
    noise = 0.006 * torch.randn(20, 2, 21, 3, generator=torch.Generator().manual_seed(0)).double()
    source = written(tmp_path / "in.npz", plausible(20) + noise)
    assert main(["untangle", source, str(tmp_path / "out.npz")]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("centre", ["wrist", "middle of all joints"])
def test_hands_centred_on_themselves_are_warned_of(tmp_path, joints, capsys, centre):
    own = {"wrist": joints[:, :, :1], "middle of all joints": joints.mean(dim=2, keepdim=True)}[centre]
    source = written(tmp_path / "in.npz", joints - own)
    main(["untangle", source, str(tmp_path / "out.npz"), "--report", str(tmp_path / "report.json")])
    assert f"warning: both hands have the same {centre}" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "report.json").read_text())["warnings"]) == 1


def test_orders_asked_for_go_by_any_of_their_names(tmp_path, joints):
    source = written(tmp_path / "in.npz", joints[1:], order="openpose")
    assert main(["untangle", source, str(tmp_path / "out.npz"), "--order", "MediaPipe"]) == 0


def test_a_folder_that_is_not_there_is_found_before_anything_is_solved(tmp_path, joints, capsys, monkeypatch):
    monkeypatch.setattr("hands_lib.tools.untangle.untangle", None)
    source = written(tmp_path / "in.npz", joints)
    assert main(["untangle", source, str(tmp_path / "no" / "out.npz")]) == 1
    assert "no is no folder" in capsys.readouterr().err


def test_a_long_call_goes_on_where_it_was_interrupted(tmp_path, joints, monkeypatch, capsys):
    """Block by block, to the same bits; what belongs to other hands is not taken over."""
    from hands_lib.tools import untangle as tool

    monkeypatch.setattr(tool, "BLOCK", 2)
    source, whole, target = (
        written(tmp_path / "in.npz", joints.repeat(3, 1, 1, 1)),
        *(tmp_path / name for name in ("whole.npz", "out.npz")),
    )
    once, known = tool.untangle, {}

    def real(joints, *rest, **more):
        """Each pair of hands is solved once: this is about blocks, not about solutions."""
        key = joints.numpy().tobytes()
        if key not in known:
            known[key] = once(joints, *rest, **more)
        return known[key]

    monkeypatch.setattr(tool, "untangle", real)
    assert main(["untangle", source, str(whole)]) == 0
    solved = []

    def interrupted(joints, *rest, **more):
        if len(solved) == 2:
            raise KeyboardInterrupt
        solved.append(len(joints))
        return real(joints, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(tool, "untangle", interrupted)
        assert main(["untangle", source, str(target)]) == 130
    assert not target.exists()
    shutil.copy(tmp_path / "out.npz.unfinished", tmp_path / "other.npz.unfinished")
    solved.clear()
    with monkeypatch.context() as patch:
        patch.setattr(tool, "untangle", lambda joints, *r, **m: solved.append(1) or real(joints, *r, **m))
        assert main(["untangle", source, str(target)]) == 0
        assert len(solved) == 1  # the third block alone
        shifted = written(tmp_path / "shifted.npz", joints.repeat(3, 1, 1, 1) + 0.001)
        assert main(["untangle", shifted, str(tmp_path / "other.npz")]) == 0
        assert len(solved) == 4  # all of other hands
    assert torch.equal(read_hand_pairs(target).joints, read_hand_pairs(whole).joints)
    assert not list(tmp_path.glob("*.unfinished"))


def test_mixed_units_are_an_error(tmp_path, joints, capsys):
    mixed = joints.clone()
    mixed[1] *= 1000
    source = written(tmp_path / "in.npz", mixed)
    assert main(["untangle", source, str(tmp_path / "out.npz")]) == 1
    assert "in.npz" in capsys.readouterr().err


def test_what_cannot_be_written_is_found_before_the_work(tmp_path, joints, capsys, monkeypatch):
    monkeypatch.setattr(module, "untangle", lambda *_, **__: pytest.fail("it was untangled first"))
    source = written(tmp_path / "in.npz", joints)
    for arguments in (
        [str(tmp_path / "no" / "out.npz")],
        [str(tmp_path / "out.npz"), "--report", "no/r.json"],
    ):
        assert main(["untangle", source, *arguments]) == 1
        assert "no is no folder" in capsys.readouterr().err
    long = tmp_path / ("n" * 300 + ".npz")
    assert main(["untangle", source, str(long)]) == 1
    assert "name too long" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_the_report_has_the_hash_of_what_was_read(tmp_path, joints, monkeypatch):
    """Also where the file is replaced, or gone, before the work ends."""
    source, report = tmp_path / "in.npz", tmp_path / "report.json"
    written(source, joints[1:])
    expected = hashlib.sha256(source.read_bytes()).hexdigest()
    own = module.untangle

    def replaced(*args, **kwargs):
        source.unlink()
        return own(*args, **kwargs)

    monkeypatch.setattr(module, "untangle", replaced)
    assert main(["untangle", str(source), str(tmp_path / "out.npz"), "--report", str(report)]) == 0
    assert json.loads(report.read_text())["input_sha256"] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "report.json"]


def test_a_missing_file_and_a_strange_ending(tmp_path, joints, capsys):
    assert main(["untangle", str(tmp_path / "no.npz"), str(tmp_path / "out.npz")]) == 1
    assert "no.npz" in capsys.readouterr().err
    source = written(tmp_path / "in.npz", joints)
    assert main(["untangle", source, str(tmp_path / "out.txt")]) == 1
    assert ".npz or .json" in capsys.readouterr().err
