"""Skeleton and surface of 256 hands beside smplx's MANO layer: from joint angles to vertices, and back.

The layer reads a file of MANO's schema that is made here (random numbers in MANO's shapes: its arithmetic
does not depend on them), so it computes 778 vertices and 16 joints; the library computes 21 joints and 307 or
699 vertices. Both take their turns in one process, since other work on the machine slows both alike: what
counts is the ratio. Forward is without gradients; backward is by everything that shapes and places a hand:
angles, root, translation, and betas there, bone lengths here.
"""

import contextlib
import io
import pickle
import time
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.sparse
import torch

from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.hand.surface import hand_surface

BATCH, ROUNDS, SAMPLE_SECONDS = 256, 20, 0.06


@pytest.fixture(scope="module")
def mano(tmp_path_factory):
    smplx = pytest.importorskip("smplx")
    random = np.random.default_rng(0)
    weights = random.random((778, 16)) ** 8
    regressor = random.random((16, 778)) * (random.random((16, 778)) < 0.05) + 1e-6
    parents = np.array([2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
    content = {
        "v_template": random.normal(size=(778, 3)) * 0.05,
        "f": random.integers(0, 778, (1538, 3)).astype(np.uint32),
        "shapedirs": random.normal(size=(778, 3, 10)) * 1e-3,
        "posedirs": random.normal(size=(778, 3, 135)) * 1e-4,
        "J_regressor": scipy.sparse.csc_matrix(regressor / regressor.sum(axis=1, keepdims=True)),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(16)]),
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
    }
    path = tmp_path_factory.mktemp("mano") / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):  # it says that there are only ten shape coefficients
        return smplx.create(str(path), "mano", is_rhand=True, use_pca=False, flat_hand_mean=True)


def library_call(detail, backward):
    pose = random_pose(BATCH, torch.Generator().manual_seed(0))
    if not backward:
        return torch.no_grad()(lambda: hand_surface(forward_kinematics(pose), detail=detail).vertices)
    leaves = {field.name: getattr(pose, field.name).clone().requires_grad_() for field in fields(pose)}
    pose = replace(pose, **leaves)

    def call():
        vertices = hand_surface(forward_kinematics(pose), detail=detail).vertices
        return torch.autograd.grad(vertices.sum(), list(leaves.values()))

    return call


def mano_call(layer, backward):
    generator = torch.Generator().manual_seed(0)
    sizes = {"betas": 10, "global_orient": 3, "hand_pose": 45, "transl": 3}
    inputs = {name: 0.3 * torch.randn(BATCH, size, generator=generator) for name, size in sizes.items()}
    if not backward:
        return torch.no_grad()(lambda: layer(**inputs).vertices)
    for tensor in inputs.values():
        tensor.requires_grad_()
    return lambda: torch.autograd.grad(layer(**inputs).vertices.sum(), list(inputs.values()))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward and backward"])
@pytest.mark.parametrize("detail", ["plain", "refined"])
def test_surface(benchmark, mano, detail, backward):
    calls = {"library": library_call(detail, backward), "smplx": mano_call(mano, backward)}
    for call in (*calls.values(), *calls.values()):
        call()
    # One sample is the mean over calls back to back: the first calls after the other contender pay for its
    # threads, which wait busily for more work before they let the cores go.
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            num, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < SAMPLE_SECONDS:
                call()
                num += 1
            times[name].append(elapsed / num)
    median = {name: float(np.median(values)) for name, values in times.items()}
    ratio = median["smplx"] / median["library"]
    benchmark.extra_info.update(
        hands_per_second=round(BATCH / median["library"]),
        smplx_hands_per_second=round(BATCH / median["smplx"]),
        times_as_fast=round(ratio, 1),
    )
    print(
        f"\n{detail}, {'forward and backward' if backward else 'forward'}: {1e3 * median['library']:.2f} ms, "
        f"smplx {1e3 * median['smplx']:.2f} ms, {ratio:.1f} times as fast"
    )
    benchmark.pedantic(calls["library"], rounds=ROUNDS, iterations=1)
    assert ratio > 2
