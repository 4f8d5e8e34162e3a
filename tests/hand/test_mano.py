"""Oracles: linear blend skinning written out, the mirror image, the published numbers of wrist and tips.

The models are the project's own stand-in; where MANO lies below $HANDS_DATA/mano, its files are read too.
"""

import ast
import os
import pickle
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mano_pickles import calling, official_pickle
from scipy import sparse

from hands_lib.geometry.meshes import check_closed, is_closed
from hands_lib.hand import mano, mano_stand_in, pickled_arrays
from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.mano import (
    CONVENTIONS,
    TIP_VERTICES,
    ManoError,
    ManoHand,
    fix_left_shape,
    mano_hands,
    read_mano,
    read_mano_pickle,
    seal,
    wrist_edges,
)
from hands_lib.hand.mano_stand_in import WRIST_RING, stand_in
from hands_lib.structures import Mesh

RIGHT = stand_in("right")
MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
ROTATION_MIRROR = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64).repeat(16)


def parameters(batch: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (48, 0.3), (10, 1.0), (3, 0.5)
    return tuple(
        scale * torch.randn(batch, size, generator=generator, dtype=torch.float64) for size, scale in sizes
    )


def hand(side="right", model=None, **options) -> ManoHand:
    return ManoHand(stand_in(side) if model is None else model, side, dtype=torch.float64, **options)


def rotation(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle if angle else (0.0, 0.0, 1.0)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def skinned(model, pose, shape, translation, flat_hand_mean=False) -> np.ndarray:
    """The MANO paper's formulas, joint by joint and vertex by vertex, for one hand."""
    template = model["v_template"] + model["shapedirs"] @ shape
    joints = model["J_regressor"] @ template
    angles = pose.copy()
    angles[3:] += 0 if flat_hand_mean else model["hands_mean"]
    rotations = [rotation(angles[3 * j : 3 * j + 3]) for j in range(16)]
    bent = np.concatenate([(r - np.eye(3)).reshape(-1) for r in rotations[1:]])
    template = template + model["posedirs"] @ bent
    parents = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    turn, place = [], []
    for j, parent in enumerate(parents):
        if parent < 0:
            turn.append(rotations[j])
            place.append(joints[j])
        else:
            turn.append(turn[parent] @ rotations[j])
            place.append(turn[parent] @ (joints[j] - joints[parent]) + place[parent])
    moved = np.zeros_like(template)
    for j in range(16):
        moved += model["weights"][:, [j]] * ((template - joints[j]) @ turn[j].T + place[j])
    return moved + translation


@pytest.mark.parametrize("flat_hand_mean", [False, True])
def test_vertices_are_those_of_the_papers_formulas(flat_hand_mean):
    pose, shape, translation = parameters()
    found = hand(flat_hand_mean=flat_hand_mean)(pose, shape, translation)
    for row in range(4):
        expected = skinned(RIGHT, *(p[row].numpy() for p in (pose, shape, translation)), flat_hand_mean)
        # smplx adds 1e-8 to every rotation vector's components before it takes the length
        assert np.abs(found.vertices[row].numpy() - expected).max() < 1e-7


def test_the_root_turns_about_the_wrist_joint():
    pose, shape, translation = parameters(1)
    turned = pose.clone()
    turned[:, :3] = torch.tensor([0.3, -0.8, 0.5])
    straight = torch.cat([torch.zeros(1, 3, dtype=torch.float64), pose[:, 3:]], dim=1)
    nothing = torch.zeros_like(translation)
    before, after = hand()(straight, shape, nothing), hand()(turned, shape, translation)
    turn = torch.from_numpy(rotation(turned[0, :3].numpy()))
    wrist = before.joints[:, :1]
    expected = (before.vertices - wrist) @ turn.mT + wrist + translation[:, None]
    assert torch.allclose(after.vertices, expected, atol=1e-7)


@pytest.mark.parametrize("tips", TIP_VERTICES)
def test_joints_come_in_the_librarys_order_with_the_named_tips(tips):
    found = hand(tips=tips)(*parameters())
    order = [
        0,
        13,
        14,
        15,
        16,
        1,
        2,
        3,
        17,
        4,
        5,
        6,
        18,
        10,
        11,
        12,
        19,
        7,
        8,
        9,
        20,
    ]  # MANO's to the library's
    bare = hand().layer(
        **dict(zip(("global_orient", "hand_pose"), parameters()[0].split([3, 45], dim=1), strict=True)),
        betas=parameters()[1], transl=parameters()[2],
    )  # fmt: skip
    whole = torch.cat([bare.joints, bare.vertices[:, list(TIP_VERTICES[tips])]], dim=1)
    assert torch.allclose(found.joints, whole[:, order])


def test_left_and_right_are_mirror_images_once_the_shape_is_repaired():
    pose, shape, translation = parameters()
    right = hand()(pose, shape, translation)
    left_parameters = pose * ROTATION_MIRROR, shape, translation * MIRROR
    repaired = hand("left", fix_left_shape(RIGHT, stand_in("left")))(*left_parameters)
    assert torch.allclose(repaired.vertices, right.vertices * MIRROR, atol=1e-9)
    assert torch.allclose(repaired.joints, right.joints * MIRROR, atol=1e-9)
    faulty = hand("left")(*left_parameters)
    assert (faulty.vertices - right.vertices * MIRROR).abs().max() > 1e-3
    # Without shape the fault does not show, which is why it went unnoticed.
    flat = hand("left")(left_parameters[0], torch.zeros_like(shape), left_parameters[2])
    assert torch.allclose(
        flat.vertices, hand()(pose, torch.zeros_like(shape), translation).vertices * MIRROR, atol=1e-9
    )


def test_the_repair_happens_once_and_only_where_it_is_needed():
    faulty = stand_in("left")
    once = fix_left_shape(RIGHT, faulty)
    assert np.array_equal(once["shapedirs"], stand_in("left", faulty=False)["shapedirs"])
    assert np.array_equal(fix_left_shape(RIGHT, once)["shapedirs"], once["shapedirs"])
    assert np.array_equal(faulty["shapedirs"][:, 0], RIGHT["shapedirs"][:, 0])  # the input is left alone


def test_the_wrist_is_sealed_as_published():
    model = hand()
    assert sorted(model.wrist.flatten().unique().tolist()) == sorted(WRIST_RING)
    after = dict(model.wrist.flip(1).tolist())
    assert all(after[v] in WRIST_RING for v in WRIST_RING)
    for side in ("right", "left"):
        own = hand(side)
        vertices = own(*parameters()).vertices
        closed = own.mesh(vertices)
        assert closed.vertices.shape == (4, 779, 3)
        assert closed.faces.shape == (1554, 3)
        assert is_closed(closed.faces)
        assert not is_closed(own.mesh(vertices, sealed=False).faces)
        assert torch.allclose(closed.vertices[:, 778], vertices[:, list(WRIST_RING)].mean(dim=1))
        rest = own(*(torch.zeros_like(p[:1]) for p in parameters()))
        check_closed(Mesh(own.mesh(rest.vertices[0]).vertices, closed.faces))  # and not inside out


def test_gradients_reach_pose_shape_and_translation():
    inputs = [p.requires_grad_() for p in parameters(2)]
    model = hand()
    model(*inputs).joints.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in inputs)
    assert not any(p.requires_grad for p in model.parameters())


def test_coefficients_are_taken_through_the_basis():
    pose, shape, translation = parameters()
    for components in (45, 6):
        coefficients = pose[:, 3 : 3 + components]
        angles = coefficients @ torch.from_numpy(RIGHT["hands_components"][:components])
        found = hand(components=components)(torch.cat([pose[:, :3], coefficients], dim=1), shape, translation)
        expected = hand()(torch.cat([pose[:, :3], angles], dim=1), shape, translation)
        assert torch.allclose(found.vertices, expected.vertices, atol=1e-9)


# --- the stand-in --------------------------------------------------------------------------------------


def test_the_stand_in_has_the_schema_and_the_projects_joints():
    for name, shape in mano._SHAPES.items():
        assert RIGHT[name].shape == shape
    assert np.allclose(RIGHT["weights"].sum(axis=1), 1)
    assert np.allclose(RIGHT["J_regressor"].sum(axis=1), 1)
    zeros = [torch.zeros_like(p[:1]) for p in parameters()]
    found = hand(flat_hand_mean=True)(*zeros)
    own = forward_kinematics(rest_pose(like=zeros[0])).joints
    inner = [j for j in range(21) if j % 4 or j == 0]
    assert torch.allclose(found.joints[0, inner], own[inner], atol=1e-9)
    assert (found.joints[0] - own).norm(dim=-1).max() < 0.002  # tips are surface vertices


def test_every_joint_moves_what_it_should():
    zeros = [torch.zeros_like(p[:1]) for p in parameters()]
    still = hand()(*zeros).joints[0]
    for joint in range(1, 16):
        pose = zeros[0].clone()
        pose[0, 3 * joint] = -0.5
        moved = (hand()(pose, *zeros[1:]).joints[0] - still).norm(dim=-1) > 1e-3
        digit = {0: 1, 1: 2, 2: 4, 3: 3, 4: 0}[(joint - 1) // 3]  # index, middle, little, ring, thumb
        below = range(1 + 4 * digit + (joint - 1) % 3 + 1, 5 + 4 * digit)
        assert set(moved.nonzero().flatten().tolist()) == set(below)


# --- files ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mano")
    for side in ("right", "left"):
        (path / f"MANO_{side.upper()}.pkl").write_bytes(official_pickle(stand_in(side)))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("spelling", ["python 2", "python 3"])
def test_official_pickles_are_read_in_every_spelling(tmp_path, protocol, spelling):
    path = tmp_path / "MANO_RIGHT.pkl"
    raw = official_pickle(RIGHT, protocol, spelling)
    path.write_bytes(raw)
    assert b"chumpy" in raw
    for arrays in (read_mano_pickle(path), read_mano(path, cache=tmp_path / "cache")):
        for name, array in RIGHT.items():
            expected = array.copy()
            if name == "kintree_table":
                expected[0, 0] = -1
            assert np.array_equal(arrays[name], expected), name
    assert "chumpy" not in sys.modules


def test_a_pickle_is_converted_once_and_again_when_it_changes(folder, tmp_path, monkeypatch):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(official_pickle(RIGHT))
    first = read_mano(path, cache=tmp_path / "cache")
    (safe,) = (tmp_path / "cache").rglob("*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(mano, "_read_pickle", lambda *_: pytest.fail("the pickle was read again"))
        assert np.array_equal(read_mano(path, cache=tmp_path / "cache")["weights"], first["weights"])
    kept = bytearray(safe.read_bytes())
    kept[-1000] ^= 1  # one bit of a number
    safe.write_bytes(kept)
    assert np.array_equal(read_mano(path, cache=tmp_path / "cache")["weights"], first["weights"])
    path.write_bytes(official_pickle({**RIGHT, "v_template": RIGHT["v_template"] + 1}))
    assert np.array_equal(read_mano(path, cache=tmp_path / "cache")["v_template"], first["v_template"] + 1)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_of_data_sets(folder, tmp_path, convention):
    hands = mano_hands(folder, convention, cache=tmp_path)
    pose, shape, translation = (p.float() for p in parameters())
    right = hands["right"](pose, shape, translation)
    left = hands["left"](pose * ROTATION_MIRROR.float(), shape, translation * MIRROR.float())
    mirrored = torch.allclose(left.vertices, right.vertices * MIRROR.float(), atol=1e-5)
    assert mirrored == (convention != "dexycb")


HARM = [
    ("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
    ("__builtin__", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("numpy", "load"),
    ("numpy.testing", "rundocs"), ("pickle", "loads"), ("importlib", "import_module"), ("torch", "load"),
    ("numpy.f2py.diagnose", "run"), ("scipy.sparse", "load_npz"), ("chumpy.ch", "loads"), ("hands_lib", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), HARM)
def test_nothing_in_a_pickle_runs(tmp_path, module, name):
    path, trace = tmp_path / "MANO_RIGHT.pkl", tmp_path / "trace"
    path.write_bytes(calling(module, name, f"touch {trace}"))
    with pytest.raises(ManoError, match=re.escape(f"names {module}.{name}")):
        read_mano(path, cache=tmp_path / "cache")
    assert not trace.exists()


def test_allowed_names_do_no_harm_either(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    for module, name in pickled_arrays._NAMES:
        for argument in ("latin1", "rm", "o"):
            path.write_bytes(calling(module, name, argument))
            with pytest.raises(ManoError):
                read_mano_pickle(path)


BROKEN = {
    "empty": (b"", "not a whole pickle"),
    "list": (pickle.dumps([1, 2]), "holds a list, no dictionary"),
    "other": (pickle.dumps({"a": 1}), "has no v_template, shapedirs"),
    "half": (official_pickle(RIGHT)[:100_000], "not a whole pickle"),
    "shape": (official_pickle({**RIGHT, "weights": RIGHT["weights"][:, :15]}), r"weights is .*\(778, 15\)"),
    "NaN": (official_pickle({**RIGHT, "v_template": RIGHT["v_template"] * np.nan}), "v_template holds NaN"),
    "faces": (official_pickle({**RIGHT, "f": RIGHT["f"] + 5}), "f names vertices that do not exist"),
    "tree": (official_pickle({**RIGHT, "kintree_table": RIGHT["kintree_table"][:, ::-1]}), "MANO's tree"),
    "text": (official_pickle({**RIGHT, "hands_mean": np.array(["a"] * 45)}), "hands_mean is <U1"),
    "sum": (official_pickle({**RIGHT, "weights": RIGHT["weights"] * 2}), "do not add up to 1"),
}


@pytest.mark.parametrize(("raw", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_named(tmp_path, raw, message):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(raw)
    with pytest.raises(ManoError, match=message) as caught:
        read_mano(path, cache=tmp_path / "cache")
    assert str(path) in str(caught.value)


def test_missing_files_and_wrong_names_say_the_licence_and_the_choices(tmp_path):
    with pytest.raises(ManoError, match="MANO_RIGHT.pkl is missing.*non-commercial"):
        mano_hands(tmp_path)
    with pytest.raises(ManoError, match="there are interhand26m"):
        mano_hands(tmp_path, "x")
    with pytest.raises(ManoError, match="unknown tip vertices 'x'"):
        hand(tips="x")
    with pytest.raises(ManoError, match="0 open edges"):
        seal(torch.zeros(3, 3), torch.tensor([[0, 1, 2], [0, 2, 1]]))


def test_a_forged_twin_of_a_file_is_not_taken_for_it(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    raw = official_pickle(RIGHT, protocol=4)
    path.write_bytes(raw)
    first = read_mano(path, cache=tmp_path / "cache")
    # Adding the polynomial of CRC-32 itself, the first bit in the least place, changes no CRC-32.
    change = int(f"{0x104C11DB7:033b}"[::-1], 2).to_bytes(5, "little")
    place = raw.index(RIGHT["v_template"].tobytes()) + 8 * 1000
    twin = bytearray(raw)
    for offset, byte in enumerate(change):
        twin[place + offset] ^= byte
    assert zlib.crc32(twin) == zlib.crc32(raw)
    path.write_bytes(twin)
    again = read_mano(path, cache=tmp_path / "cache")
    assert np.array_equal(first["v_template"], RIGHT["v_template"])
    assert not np.array_equal(again["v_template"], first["v_template"])


@pytest.mark.parametrize("kind", [sparse.csc_matrix, sparse.csr_matrix, sparse.coo_matrix])
@pytest.mark.parametrize("protocol", [2, 5])
def test_files_that_were_saved_again_are_read(tmp_path, kind, protocol):
    path = tmp_path / "MANO_RIGHT.pkl"
    mean = np.float64(RIGHT["hands_mean"][0])  # NumPy's own scalars, too
    content = {**RIGHT, "J_regressor": kind(RIGHT["J_regressor"]), "mean": mean}
    path.write_bytes(pickle.dumps(content, protocol))
    arrays = read_mano_pickle(path)
    assert all(np.array_equal(arrays[name], RIGHT[name]) for name in RIGHT if name != "kintree_table")


def test_an_npz_with_a_sparse_part_says_how_to_save_it(tmp_path):
    path = tmp_path / "MANO_RIGHT.npz"
    np.savez(path, **{**RIGHT, "J_regressor": sparse.csc_matrix(RIGHT["J_regressor"])})
    with pytest.raises(ManoError, match=r"J_regressor holds objects.*toarray\(\).*numpy.savez") as caught:
        read_mano(path)
    assert str(path) in str(caught.value)
    np.savez(path, **RIGHT)
    assert np.array_equal(read_mano(path)["weights"], RIGHT["weights"])


def test_what_is_no_file_is_said_at_once(tmp_path):
    pipe = tmp_path / "MANO_RIGHT.pkl"
    os.mkfifo(pipe)
    for path, words in (
        (pipe, "it is a pipe"),
        (tmp_path, "it is a folder"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(ManoError, match=words):
            read_mano_pickle(path)
        with pytest.raises(ManoError, match=words):
            read_mano(path, cache=tmp_path / "cache")
    with pytest.raises(ManoError, match="it is a pipe"):
        mano_hands(tmp_path)


def test_a_batch_of_no_hands_is_empty():
    found = hand()(*(p[:0] for p in parameters()))
    assert found.vertices.shape == (0, 778, 3)
    assert found.joints.shape == (0, 21, 3)


def test_without_smplx_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(ImportError, match="(?s)pip install smplx.*non-commercial"):
        hand()


def test_nothing_but_the_mano_module_imports_smplx():
    root = Path(mano.__file__).resolve().parents[1]
    importers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                if any(name.split(".")[0] == "smplx" for name in names):
                    importers.add(path.relative_to(root).as_posix())
    assert importers == {"hand/mano.py"}


def test_a_surface_with_another_hole_is_refused():
    faces = torch.from_numpy(RIGHT["f"])
    with pytest.raises(ManoError, match="open edges"):
        wrist_edges(faces[1:])


_REAL = Path(os.environ.get("HANDS_DATA", "nowhere"), "mano")
if (_REAL / "MANO_RIGHT.pkl").is_file():

    def test_the_official_files_have_the_published_wrist_and_mirror(tmp_path):
        hands = mano_hands(_REAL, cache=tmp_path)
        for own in hands.values():
            assert sorted(own.wrist.flatten().unique().tolist()) == sorted(WRIST_RING)


def test_the_stand_in_is_the_same_on_every_call():
    mano_stand_in._right.cache_clear()
    again = stand_in("right")
    assert all(np.array_equal(RIGHT[name], array) for name, array in again.items())
