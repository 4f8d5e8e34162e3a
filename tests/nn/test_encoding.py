import math

import pytest
import torch

from hands_lib.nn.encoding import positional_encoding


def test_is_its_definition():
    x = torch.tensor([[0.3, -1.2]])
    expected = [0.3, -1.2]
    for octave in (1, 2, 4):
        expected += [math.sin(math.pi * octave * value) for value in (0.3, -1.2)]
        expected += [math.cos(math.pi * octave * value) for value in (0.3, -1.2)]
    torch.testing.assert_close(positional_encoding(x, 3), torch.tensor([expected]))


def test_without_values_has_the_period_of_its_lowest_octave():
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    waves = positional_encoding(x, 4, include_values=False)
    assert waves.shape == (7, 8)
    torch.testing.assert_close(waves, positional_encoding(x + 2, 4, include_values=False))


def test_refuses_an_empty_encoding():
    with pytest.raises(ValueError, match="at least one octave"):
        positional_encoding(torch.zeros(1, 3), 0, include_values=False)
