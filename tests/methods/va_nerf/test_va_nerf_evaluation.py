import math
from dataclasses import asdict, replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, all_views, ring

from hands_lib.methods.va_nerf.evaluation import (
    FIGURES,
    comes_back,
    comparison_rows,
    discriminator_rows,
    draw_view_pairs,
    figure_columns,
    figure_pairs,
    figure_pictures,
    image_scores,
    joined,
    training_strip,
    view_pairs,
    views_by,
)
from hands_lib.methods.va_nerf.network import keypoint_nerf, settings_from
from hands_lib.methods.va_nerf.training import Pictures, TestPictures, beside_truth
from hands_lib.structures import Camera


@pytest.fixture(scope="module")
def pictures(view):
    """Two frames of 24 views, 15 degrees and more apart."""
    camera = ring(24, view.vertices[0])
    both = [values.expand(2, *values.shape) for values in (camera.intrinsics, camera.camera_from_world)]
    image = torch.zeros(2, 24, SIZE, SIZE, 3, dtype=torch.uint8)
    return Pictures(
        image, image[..., 0] > 0, *both, view.vertices, view.joints, view.faces, *all_views(2, 24)
    )


def turned_by(camera: Camera, one: int, other: int) -> float:
    relative = camera.camera_from_world[one, :3, :3] @ camera.camera_from_world[other, :3, :3].T
    return math.degrees(math.acos(max(-1.0, min(1.0, (relative.trace().item() - 1) / 2))))


def test_pairs_that_a_protocol_asks_for_come_first(pictures):
    assert torch.equal(view_pairs(pictures, 5).target, draw_view_pairs(pictures, 5).target)
    asked = torch.tensor([[1, 0, 2], [0, 3, 1], [0, 5, 5]])
    found = view_pairs(replace(pictures, asked=asked), 2)
    assert torch.equal(torch.stack([found.frame, found.view, found.target], dim=-1), asked[:2])
    camera = ring(24, pictures.vertices[0])
    for n, (_, view, target) in enumerate(asked[:2].tolist()):
        assert found.degrees[n].item() == pytest.approx(turned_by(camera, view, target), abs=0.05)


def test_drawn_pairs_keep_to_the_views_that_a_frame_has(pictures):
    fewer = replace(pictures, view_count=torch.tensor([4, 24]))
    pairs = draw_view_pairs(fewer, 60)
    assert (torch.maximum(pairs.view, pairs.target)[pairs.frame == 0] < 4).all()
    assert (torch.maximum(pairs.view, pairs.target)[pairs.frame == 1] >= 4).any()
    with pytest.raises(ValueError, match="at least two views"):
        draw_view_pairs(replace(pictures, view_count=torch.tensor([1, 24])), 1)


def test_pairs_of_views(pictures):
    pairs = draw_view_pairs(pictures, 20)
    assert pairs.frame.tolist() == [0, 1] * 10
    assert (pairs.view != pairs.target).all()
    camera = ring(24, pictures.vertices[0])
    for n in range(20):
        angle = turned_by(camera, int(pairs.view[n]), int(pairs.target[n]))
        assert pairs.degrees[n].item() == pytest.approx(angle, abs=0.05)
        assert (angle < 30) == (n % 2 == 1)
    again = draw_view_pairs(pictures, 20)
    assert torch.equal(again.view, pairs.view)
    assert torch.equal(draw_view_pairs(pictures, 10)[:3].frame, pairs.frame[:3])


def test_one_view_is_no_pair(pictures):
    one = replace(
        pictures,
        image=pictures.image[:, :1],
        foreground=pictures.foreground[:, :1],
        intrinsics=pictures.intrinsics[:, :1],
        camera_from_world=pictures.camera_from_world[:, :1],
        view_count=torch.ones(2, dtype=torch.long),
    )
    with pytest.raises(ValueError, match="two views"):
        draw_view_pairs(one, 3)


def test_scores_of_known_errors():
    """Errors of 0.1 on what is seen and 0.2 on what is hidden, in a hand of 16 x 16 of 32 x 32 pixels."""
    truth, hand = torch.zeros(2, 32, 32, 3), torch.zeros(2, 32, 32, dtype=torch.bool)
    hand[:, 8:24, 8:24] = True
    seen = hand.clone()
    seen[:, :, 16:] = False
    picture = truth + 0.1 * seen[..., None] + 0.2 * (hand & ~seen)[..., None]
    degrees = torch.tensor([10.0, 50.0])
    found = TestPictures(picture, truth, hand, seen)
    parts = [TestPictures(*(getattr(found, f)[n : n + 1] for f in vars(found))) for n in (0, 1)]
    scores = image_scores(joined(parts), degrees, ("distance", lambda a, b: (a - b).abs().sum((1, 2, 3))))
    share = 16 * 16 / 32**2
    whole = -10 * math.log10(share * (0.1**2 + 0.2**2) / 2)
    assert scores["psnr"] == pytest.approx(whole, abs=1e-3)
    assert scores["psnr_above_30"] == pytest.approx(whole, abs=1e-3)
    assert scores["psnr_seen"] == pytest.approx(20, abs=1e-3)
    assert scores["psnr_hidden"] == pytest.approx(-20 * math.log10(0.2), abs=1e-3)
    assert scores["distance"] == pytest.approx(16 * 8 * 3 * 0.3, rel=1e-4)
    assert scores["ssim"] < scores["ssim_range_2"] < 1
    perfect = image_scores(
        replace(found, rendered=truth + 1e-6), degrees, ("distance", lambda a, b: a.sum((1, 2, 3)))
    )
    assert perfect["ssim"] == pytest.approx(1, abs=1e-4)


def test_blanked_inputs_and_what_they_show(pictures):
    lit = replace(pictures, image=pictures.image + 100)
    pairs = draw_view_pairs(lit, 2)
    shown = torch.ones(SIZE, SIZE)
    shown[4:9] = 0
    view = lit.input_view(pairs.frame, pairs.view, shown)
    assert (view.image[:, 4:9] == 0).all()
    assert torch.equal(view.image[:, 9:], lit.colours(pairs.frame, pairs.view)[:, 9:])
    same = beside_truth(view.image, lit, pairs.frame, pairs.view, pairs.view)
    assert (same.seen & ~same.foreground).sum() == 0
    assert same.seen.sum() > 0.85 * same.foreground.sum()  # from the same camera all but contours


def test_settings_survive_a_record():
    import json

    for settings in (TINY, keypoint_nerf(TINY)):
        assert settings_from(json.loads(json.dumps(asdict(settings)))) == settings
    assert keypoint_nerf(TINY).fusion.places == ("q",)
    assert keypoint_nerf(TINY).density == "free"


def test_pictures_a_few_at_a_time_are_those_of_all_at_once(pictures):
    """The method is given the blanked picture; what the input sees is judged by the whole one."""
    lit = replace(pictures, image=pictures.image + 100)
    pairs = draw_view_pairs(lit, 5)
    shown = torch.ones(SIZE, SIZE)
    shown[4:9] = 0

    def method(given, camera):
        return given.image + camera.intrinsics[:, 0, 2, None, None, None] / 1000

    found = views_by(method, lit, pairs, shown, at_once=2)
    once = views_by(method, lit, pairs, shown, at_once=5)
    assert torch.equal(found.rendered, once.rendered)
    assert (found.rendered[:, 4:9].amax(dim=(1, 2, 3)) < found.rendered[:, 9:].amax(dim=(1, 2, 3))).all()
    assert torch.equal(found.target, lit.colours(pairs.frame, pairs.target))
    assert torch.equal(found.seen, views_by(method, lit, pairs).seen)


def distance(a, b):
    return (a - b).abs().sum((1, 2, 3))


def echo(given, camera):
    """A method that shows its input again."""
    return given.image


@pytest.fixture(scope="module")
def noisy(pictures):
    generator = torch.Generator().manual_seed(5)
    image = torch.randint(1, 255, pictures.image.shape, generator=generator).to(torch.uint8)
    return replace(pictures, image=image)


def test_tables_1_to_3_are_of_these_pairs_and_masks(noisy):
    """PSNR by hand, from the pictures themselves."""
    pairs = draw_view_pairs(noisy, 6)
    rows = comparison_rows("echo", echo, noisy, pairs, [0.25, 0.5], ("distance", distance))
    assert {table: list(own) for table, own in rows.items()} == {
        "comparison": ["echo"],
        "large view variation": ["echo"],
        "occlusion": ["echo, mask 0.25", "echo, mask 0.5"],
    }
    given, truth = noisy.colours(pairs.frame, pairs.view), noisy.colours(pairs.frame, pairs.target)

    def by_hand(made, chosen):
        errors = [((made[n] - truth[n]) ** 2).mean().item() for n in chosen]
        return sum(-10 * math.log10(error) for error in errors) / len(errors)

    everything = range(6)
    far = [n for n in everything if pairs.degrees[n] >= 30]
    assert 0 < len(far) < 6
    assert rows["comparison"]["echo"]["psnr"] == pytest.approx(by_hand(given, everything), abs=1e-4)
    assert rows["large view variation"]["echo"]["psnr"] == pytest.approx(by_hand(given, far), abs=1e-4)
    for side, name in ((8, "0.25"), (16, "0.5")):
        holed, start = given.clone(), (SIZE - side) // 2
        holed[:, start : start + side, start : start + side] = 0
        found = rows["occlusion"][f"echo, mask {name}"]["psnr"]
        assert found == pytest.approx(by_hand(holed, everything), abs=1e-4)
    apart, own = discriminator_rows("echo", echo, noisy, pairs, [0.25, 0.5], ("distance", distance))
    assert own["echo, view variation"] == rows["large view variation"]["echo"]
    mean = sum(rows["occlusion"][f"echo, mask {name}"]["psnr"] for name in ("0.25", "0.5")) / 2
    assert own["echo, occlusion"]["psnr"] == pytest.approx(mean, abs=1e-4)
    assert torch.equal(apart.rendered, given[far])


def test_figures_show_their_pairs(noisy):
    kept = figure_pictures(echo, noisy)
    assert tuple(kept) == FIGURES
    widest = figure_pairs(noisy, "figure 5")[0].degrees
    assert (widest >= draw_view_pairs(noisy, 24).degrees.max() - 1e-3).any()
    for figure in FIGURES:
        pairs, ratio = figure_pairs(noisy, figure)
        columns = figure_columns(noisy, figure, {"echo": kept[figure]})
        assert list(columns) == ["input", "echo", "truth"]
        assert ((columns["input"] == 0).all(dim=-1).float().mean() > 0.05) == (ratio > 0)
        off = 255 * columns["input"] - columns["echo"].float()  # bytes are cut off, not rounded
        assert off.min() > -1e-3
        assert off.max() < 1 + 1e-3
        assert torch.equal(columns["truth"], noisy.colours(pairs.frame, pairs.target))
    with pytest.raises(KeyError):
        figure_pairs(noisy, "figure 7")


def test_a_strip_shows_input_truth_and_what_is_made(noisy):
    pairs = draw_view_pairs(noisy, 3)
    strip = training_strip(echo, noisy, pairs, lambda found: found.foreground.float())
    given, truth = (
        noisy.colours(pairs.frame[:1], pairs.view[:1]),
        noisy.colours(pairs.frame[:1], pairs.target[:1]),
    )
    assert strip.shape == (SIZE, 4 * SIZE, 3)
    for n, part in enumerate((given[0], truth[0], given[0])):
        assert torch.equal(strip[:, n * SIZE : (n + 1) * SIZE], part)
    assert training_strip(echo, noisy, pairs).shape == (SIZE, 3 * SIZE, 3)


def test_what_comes_back_is_held_against_one_colour():
    """Two pixels of hands, 0.2 and 0.6, of four; what is made is 0.1 off on them, and right elsewhere."""
    given = torch.tensor([[0.2, 0.6], [0.0, 0.0]])[..., None].expand(2, 2, 3)
    made = given + 0.1 * (given > 0)
    whole, hands, plain = comes_back(made[None], given[None])
    assert whole == pytest.approx(-10 * math.log10(0.01 / 2), abs=1e-4)
    assert hands == pytest.approx(20, abs=1e-4)
    assert plain == pytest.approx(-10 * math.log10(0.04), abs=1e-4)
