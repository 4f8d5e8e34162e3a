"""The compiled chain of bones against the plain one, in values and in both derivatives."""

import pytest
import torch

from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand import kinematics
from hands_lib.hand.kinematics_kernel import Chain


def inputs(num, dtype):
    generator = torch.Generator().manual_seed(num)
    tensors = (
        torch.randn(num, 3, generator=generator, dtype=dtype),
        random_rotations(num, generator, dtype=dtype),
        4 * torch.rand(num, 5, 4, 3, generator=generator, dtype=dtype) - 2,
        torch.rand(num, 5, 4, generator=generator, dtype=dtype),
    )
    return [tensor.requires_grad_() for tensor in tensors]


def compiled(*tensors):
    constants = (kinematics.METACARPAL_FRAMES, kinematics._METACARPAL_FROM_DIGIT)
    return Chain.apply(*tensors, *(constant.to(tensors[0]) for constant in constants), kinematics.bone_chain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num", [0, 1, 16, 37, 150])
def test_agrees_with_the_plain_chain(num, dtype):
    tensors = inputs(num, dtype)
    fast, plain = compiled(*tensors), kinematics.bone_chain(*tensors)
    torch.testing.assert_close(fast, plain)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, generator=generator, dtype=dtype) for result in plain]
    for fast_grad, plain_grad in zip(
        torch.autograd.grad(fast, tensors, weights), torch.autograd.grad(plain, tensors, weights), strict=True
    ):
        torch.testing.assert_close(
            fast_grad, plain_grad, rtol=1e-5 if dtype == torch.float32 else 1e-9, atol=1e-5
        )


def test_derivatives_against_differences():
    assert torch.autograd.gradcheck(compiled, inputs(2, torch.float64))


def test_second_derivatives():
    def summed(*tensors):
        joints, rotations = compiled(*tensors)
        return joints.square().sum(dim=(1, 2)) + rotations.sin().sum(dim=(1, 2, 3, 4))

    assert torch.autograd.gradgradcheck(summed, inputs(2, torch.float64), fast_mode=True)


def test_a_view_without_contiguous_memory_is_read_right():
    translation, root, angles, lengths = (tensor.detach() for tensor in inputs(20, torch.float64))
    views = (translation[::2], root.mT[::2], angles.flip(1)[::2], lengths[:1].expand(10, 5, 4))
    torch.testing.assert_close(compiled(*views), kinematics.bone_chain(*views))
