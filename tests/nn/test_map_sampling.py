import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.nn.sampling import sample_at_pixels


def slow(maps, image, pixels, picture_size):
    """One point at a time, four neighbours each."""
    _, _, height, width = maps.shape
    rows = []
    for number, (x, y) in zip(image.tolist(), pixels.tolist(), strict=True):
        u = min(max((x + 0.5) * width / picture_size[1] - 0.5, 0), width - 1)
        v = min(max((y + 0.5) * height / picture_size[0] - 0.5, 0), height - 1)
        left, top = int(u), int(v)
        value = 0
        for row, share_v in ((top, 1 - (v - top)), (min(top + 1, height - 1), v - top)):
            for column, share_u in ((left, 1 - (u - left)), (min(left + 1, width - 1), u - left)):
                value = value + share_u * share_v * maps[number, :, row, column]
        rows.append(value)
    return torch.stack(rows)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_is_the_slow_version(images, channels, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(images, channels, height, width, generator=generator, dtype=torch.float64)
    image = torch.randint(images, (20,), generator=generator)
    pixels = 24 * torch.rand(20, 2, generator=generator, dtype=torch.float64) - 4
    found = sample_at_pixels(maps, image, pixels, (16, 20))
    torch.testing.assert_close(found, slow(maps, image, pixels, (16, 20)))


def test_a_linear_picture_is_read_exactly_at_any_resolution():
    """A map whose cells hold the mean x and y of their pixels gives back x and y, away from the border."""
    pixels = torch.tensor([[10.3, 20.9], [31.0, 7.5]], dtype=torch.float64)
    for cell in (1, 2, 4):
        centres = cell * torch.arange(64 // cell, dtype=torch.float64) + (cell - 1) / 2
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        maps = torch.stack([x, y])[None]
        found = sample_at_pixels(maps, torch.zeros(2, dtype=torch.long), pixels, (64, 64))
        torch.testing.assert_close(found, pixels)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    pixels = (0.3 + 3 * torch.rand(6, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    image = torch.tensor([0, 1, 0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda m, p: sample_at_pixels(m, image, p, (4, 5)), (maps, pixels))
