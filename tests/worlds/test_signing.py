from dataclasses import replace

import pytest
import torch

from hands_lib.hand.pairs import intersecting, pair_joints, pair_surfaces
from hands_lib.worlds import signing
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.signing import STAND_INS, signing_frames


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HANDS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", params=STAND_INS)
def drawn(request, cache):
    return request.param, signing_frames(request.param, 24, seed=3, progress=False)


def test_frames_are_near_exact_and_as_the_settings_say(drawn):
    name, frames = drawn
    settings = STAND_INS[name]
    assert len(frames.joints) == len(frames.keypoints) == 24
    assert torch.equal(frames.joints, pair_joints(frames.pose))
    nearest = torch.cdist(*frames.joints.unbind(dim=1)).flatten(1).amin(dim=1)
    assert nearest.max() <= settings.nearest
    kinds = [list(INTERACTIONS)[kind] for kind in frames.interaction.unique().tolist()]
    assert set(kinds) <= set(settings.interactions)
    assert frames.motion.unique().tolist() == list(range(int(frames.motion.max()) + 1))
    assert frames.motion.bincount().max() <= 16
    people = sample_identities(settings.people, settings.people_seed)
    assert not intersecting(pair_surfaces(frames.pose, people[frames.person].shape)).any()

    exact = frames.camera.project(frames.joints.flatten(1, 2)).view(24, 2, 21, 2)
    noise = frames.keypoints - exact
    assert noise.std().item() == pytest.approx(settings.keypoint_noise, rel=0.08)
    assert noise.mean().abs() < 0.1 * settings.keypoint_noise
    assert exact.min() > 0
    assert exact.max() < settings.image_size


def test_the_same_seed_gives_the_same_frames_with_and_without_the_cache(cache, tmp_path, monkeypatch):
    name = "weather"
    frames, again = (signing_frames(name, 24, seed=5, progress=False) for _ in range(2))
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    anew = signing_frames(name, 24, seed=5, progress=False)
    for field in ("joints", "keypoints", "motion", "person", "interaction"):
        assert torch.equal(getattr(frames, field), getattr(again, field))
        assert torch.equal(getattr(frames, field), getattr(anew, field))
    # A read-only home costs time alone.
    monkeypatch.setenv("HANDS_CACHE", "/proc/none")
    few = signing_frames(name, 5, seed=5, progress=False)
    assert torch.equal(few.joints, frames.joints[:5])


def test_seeds_and_stand_ins_differ(cache):
    first, second = (signing_frames("weather", 5, seed, progress=False) for seed in (3, 4))
    assert not torch.equal(first.joints, second.joints)
    seeds = [settings.people_seed for settings in STAND_INS.values()]
    assert len(set(seeds)) == 4
    builds = [sample_identities(s.people, s.people_seed).bone_lengths for s in STAND_INS.values()]
    assert len(torch.cat(builds).flatten(1).unique(dim=0)) == sum(s.people for s in STAND_INS.values())


def test_unusable_requests_are_errors(monkeypatch):
    with pytest.raises(ValueError, match=r"SMILE.*laboratory"):
        signing_frames("SMILE", 10)
    with pytest.raises(ValueError, match="at least one frame"):
        signing_frames("weather", 0)

    def refused(*_):
        raise RuntimeError("no motion")

    monkeypatch.setattr(signing, "sample_sequence", refused)
    monkeypatch.setitem(STAND_INS, "weather", replace(STAND_INS["weather"], people=2))
    with pytest.raises(RuntimeError, match="nobody of 8 people"):
        signing_frames("weather", 3, seed=10_001, progress=False)
