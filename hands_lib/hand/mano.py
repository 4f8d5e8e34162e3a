"""MANO hands through smplx, from a person's own copy of the official files or from the project's stand-in.

MANO and smplx are for non-commercial research alone, and neither may be passed on: the project ships no MANO
data, and nothing but this module imports smplx (when it is first needed).

Source   Romero et al., "Embodied Hands: Modeling and Capturing Hands and Bodies Together", SIGGRAPH Asia 2017
Chapter  book/foundations/datasets.md
Units    metres, radians
Frame    MANO's own; the root turns about the wrist joint, then `translation` is added
Order    joints in the library's order; on disk the order "mano", tips are surface vertices

The official files are Python-2 pickles, and a pickle can run any program when Python reads it. Here
`hand.pickled_arrays` does, which knows the few names that those files need and runs nothing.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.cache import made_once
from hands_lib.geometry.meshes import boundary_edges
from hands_lib.hand.pickled_arrays import ForbiddenNameError, PickledArraysError, array_of, read_pickle
from hands_lib.hand.skeleton import NUM_JOINTS, reorder
from hands_lib.plain_files import ContentError, read_npz, read_plain
from hands_lib.structures import Mesh, TensorFields

Side = Literal["right", "left"]
Arrays = dict[str, np.ndarray]

NUM_VERTICES = 778
NUM_FACES = 1538
LICENCE = (
    "MANO (https://mano.is.tue.mpg.de) and smplx are licensed for non-commercial research only and must not "
    "be passed on: register there, accept the licence and download the models yourself"
)
TIP_VERTICES: dict[str, tuple[int, int, int, int, int]] = {
    # Thumb to little finger.
    "interhand26m": (745, 317, 445, 556, 673),
    "manopth": (745, 317, 444, 556, 673),
    "smplx": (744, 320, 443, 554, 671),
    "ho3d": (744, 333, 444, 555, 672),
}
"""Which surface vertices stand for the finger tips: every library has its own."""

_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (NUM_VERTICES, 3),
    "shapedirs": (NUM_VERTICES, 3, 10),
    "posedirs": (NUM_VERTICES, 3, 135),
    "J_regressor": (16, NUM_VERTICES),
    "weights": (NUM_VERTICES, 16),
    "kintree_table": (2, 16),
    "f": (NUM_FACES, 3),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}
_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
_LARGEST = 64 << 20  # bytes; an official file has about 4 MB
_READER = 1  # of what is kept in the cache
_SAVED_AGAIN = (
    "save it so that it holds plain arrays alone: "
    "numpy.savez('MANO_RIGHT.npz', J_regressor=model['J_regressor'].toarray(), v_template=..., ...)"
)


class ManoError(ValueError):
    """A MANO file is missing, is not what it should be, or names something that must not run."""


@dataclass(frozen=True)
class ManoConvention:
    """How a data set's MANO numbers are meant."""

    flat_hand_mean: bool
    """False: the 45 finger angles are counted from MANO's mean pose. True: from the flat hand."""
    fix_left_shape: bool
    """Whether the left model's mirrored shape directions are repaired; see `fix_left_shape`."""
    tips: str
    components: int | None = None
    """None: 45 axis-angle numbers. Else that many PCA coefficients."""


CONVENTIONS = {
    "interhand26m": ManoConvention(flat_hand_mean=False, fix_left_shape=True, tips="interhand26m"),
    "reinterhand": ManoConvention(flat_hand_mean=False, fix_left_shape=True, tips="interhand26m"),
    "ho3d": ManoConvention(flat_hand_mean=True, fix_left_shape=True, tips="ho3d"),
    # Annotated with the unrepaired left model: only the same one reproduces its surfaces.
    "dexycb": ManoConvention(flat_hand_mean=False, fix_left_shape=False, tips="manopth", components=45),
}


@dataclass(frozen=True)
class ManoSurface(TensorFields):
    """A posed hand."""

    vertices: Float[Tensor, "batch 778 3"]
    joints: Float[Tensor, "batch 21 3"]
    """In the library's order."""


class ManoHand(nn.Module):
    """One side's MANO model as smplx computes it; differentiable in pose, shape and translation.

    model   arrays as `read_mano` or `mano_stand_in.stand_in` give them
    tips    a name in TIP_VERTICES

    Raises ManoError where arrays do not have MANO's shapes, ImportError where smplx is not installed.
    """

    def __init__(
        self,
        model: Mapping[str, np.ndarray],
        side: Side,
        *,
        flat_hand_mean: bool = False,
        tips: str = "interhand26m",
        components: int | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if tips not in TIP_VERTICES:
            raise ManoError(f"unknown tip vertices {tips!r}; there are {', '.join(TIP_VERTICES)}")
        if side not in ("right", "left"):
            raise ManoError(f"unknown side {side!r}; there are right, left")
        arrays = _checked(dict(model), f"the {side} MANO model")
        smplx, struct = _smplx()
        # smplx adds to these arrays in place.
        data = struct(**{name: array.copy() for name, array in arrays.items()})
        with contextlib.redirect_stdout(io.StringIO()):  # it reports ten shape coefficients as a fault
            self.layer = smplx.MANO(
                "",
                data_struct=data,
                is_rhand=side == "right",
                use_pca=components is not None,
                num_pca_comps=45 if components is None else components,
                flat_hand_mean=flat_hand_mean,
                dtype=dtype,
            )
        if components == 45:
            # smplx takes "45 components" for "no components": here they are coefficients all the same.
            basis = torch.as_tensor(arrays["hands_components"], dtype=dtype)
            self.register_buffer("basis", basis, persistent=False)
        else:
            self.basis = None
        self.side, self.tips = side, tips
        self.layer.requires_grad_(False)
        faces = torch.from_numpy(arrays["f"].astype(np.int64))
        self.register_buffer("faces", faces, persistent=False)
        self.register_buffer("wrist", wrist_edges(faces), persistent=False)

    def forward(
        self,
        pose: Float[Tensor, "batch pose"],
        shape: Float[Tensor, "batch 10"],
        translation: Float[Tensor, "batch 3"],
    ) -> ManoSurface:
        """`pose` is the root's axis-angle and then the fingers': 45 angles, or the coefficients. No hands
        give no surfaces."""
        if not len(pose):  # smplx cannot shape nothing
            return ManoSurface(pose.new_zeros(0, NUM_VERTICES, 3), pose.new_zeros(0, NUM_JOINTS, 3))
        fingers = pose[:, 3:] if self.basis is None else pose[:, 3:] @ self.basis
        out = self.layer(global_orient=pose[:, :3], hand_pose=fingers, betas=shape, transl=translation)
        tips = out.vertices[:, list(TIP_VERTICES[self.tips])]
        return ManoSurface(out.vertices, reorder(torch.cat([out.joints, tips], dim=1), "ho3d", "hands"))

    def mesh(self, vertices: Float[Tensor, "*batch 778 3"], sealed: bool = True) -> Mesh:
        """The surface as a mesh; `sealed` closes the wrist with one vertex more and 16 faces."""
        if not sealed:
            return Mesh(vertices, self.faces)
        return seal(vertices, self.faces, self.wrist)


def wrist_edges(faces: Int[Tensor, "face 3"]) -> Int[Tensor, "edge 2"]:
    """The edges of the hole at the wrist, as the faces run along them. Raises ManoError if it has not 16."""
    edges = boundary_edges(faces)
    ring = edges.flatten().unique()
    if edges.shape != (16, 2) or len(ring) != 16:
        raise ManoError(
            f"the hand's surface has {len(edges)} open edges, where MANO's wrist has a ring of 16"
        )
    return edges


def seal(
    vertices: Float[Tensor, "*batch vertex 3"],
    faces: Int[Tensor, "face 3"],
    wrist: Int[Tensor, "edge 2"] | None = None,
) -> Mesh:
    """The closed surface: the mean of the wrist's ring as one more vertex, and a fan of faces around it.

    Vertices and faces that were there keep their numbers. `wrist` is `wrist_edges(faces)`, found if None.
    """
    wrist = wrist_edges(faces) if wrist is None else wrist
    centre = vertices[..., wrist[:, 0], :].mean(dim=-2, keepdim=True)
    middle = torch.full_like(wrist[:, :1], vertices.shape[-2])
    fan = torch.cat([wrist.flip(1), middle], dim=1)  # against the neighbour's direction
    return Mesh(torch.cat([vertices, centre], dim=-2), torch.cat([faces, fan.to(faces)]))


def mano_hands(
    folder: str | Path, convention: str | ManoConvention = "interhand26m", *, cache: str | Path | None = None
) -> dict[Side, ManoHand]:
    """Both hands from the official `MANO_RIGHT.pkl` and `MANO_LEFT.pkl` (or .npz) in `folder`.

    convention  a data set's name in CONVENTIONS, or one of your own
    cache       where the safe copies of the pickles go, see `read_mano`

    Raises ManoError as `read_mano`, ImportError where smplx is not installed.
    """
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise ManoError(f"no MANO convention {convention!r}; there are {', '.join(CONVENTIONS)}")
        convention = CONVENTIONS[convention]
    right, left = (read_mano(_find(Path(folder), side), cache=cache) for side in ("right", "left"))
    if convention.fix_left_shape:
        left = fix_left_shape(right, left)
    rest = {
        "flat_hand_mean": convention.flat_hand_mean,
        "tips": convention.tips,
        "components": convention.components,
    }
    return {"right": ManoHand(right, "right", **rest), "left": ManoHand(left, "left", **rest)}


def fix_left_shape(right: Mapping[str, np.ndarray], left: Mapping[str, np.ndarray]) -> Arrays:
    """The left model with shape directions that are the mirror image of the right one's.

    The published left model has the right one's x components, not negated, so that the same coefficients
    widen one hand where they narrow the other. A model that is already right stays as it is. Data sets that
    were annotated with the fault need it left in (`ManoConvention.fix_left_shape`).
    """
    fixed = {name: array.copy() for name, array in left.items()}
    if np.abs(left["shapedirs"][:, 0] - right["shapedirs"][:, 0]).sum() < 1:
        fixed["shapedirs"][:, 0] *= -1
    return fixed


def read_mano(path: str | Path, *, cache: str | Path | None = None) -> Arrays:
    """The arrays of one MANO file, .pkl or .npz, checked for names, shapes and finite numbers.

    A pickle is read once and its arrays kept in the folder `cache` (`hands_lib.cache`), where they are found
    by the SHA-256 of the whole file. Raises ManoError where the file is missing, cannot be read, is too
    large, damaged, no MANO model, or names anything that must not run.
    """
    where, raw = str(path), _read_file(path)
    if Path(path).suffix.lower() == ".npz":
        return _checked(_read_npz(raw, where), where)

    def make() -> dict[str, Tensor]:
        return {name: torch.from_numpy(a) for name, a in _checked(_read_pickle(raw, where), where).items()}

    kept = made_once("mano", [_READER, hashlib.sha256(raw).hexdigest()], make, folder=cache)
    return _checked({name: tensor.numpy() for name, tensor in kept.items()}, where)


def read_mano_pickle(path: str | Path) -> Arrays:
    """The arrays of an official pickle; nothing in it can run. Errors as of `read_mano`."""
    return _checked(_read_pickle(_read_file(path), str(path)), str(path))


def _read_file(path: str | Path) -> bytes:
    try:
        return read_plain(path, _LARGEST)
    except FileNotFoundError:
        raise ManoError(f"{path} is missing. {LICENCE}") from None
    except OSError as error:
        raise ManoError(f"{path} cannot be read ({error.strerror}): name the official file") from None


def _find(folder: Path, side: str) -> Path:
    for place in (folder, folder / "mano", folder / "models"):
        for suffix in (".pkl", ".npz"):
            path = place / f"MANO_{side.upper()}{suffix}"
            if os.path.lexists(path):  # whether it can be read, reading says
                return path
    raise ManoError(f"{folder / f'MANO_{side.upper()}.pkl'} is missing. {LICENCE}")


def _smplx() -> tuple[Any, Any]:
    try:
        import smplx
        from smplx.utils import Struct
    except ImportError:
        raise ImportError(
            f"MANO hands need smplx: pip install smplx (it is in the extra `book`). {LICENCE}"
        ) from None
    return smplx, Struct


# --- files ---------------------------------------------------------------------------------------------


def _read_pickle(raw: bytes, where: str) -> Arrays:
    try:
        content = read_pickle(raw)
    except ForbiddenNameError as refused:
        raise ManoError(
            f"{where} names {refused}, which no MANO model needs and which could run a program: nothing was "
            f"executed; download the official file again"
        ) from None
    except PickledArraysError as error:
        raise ManoError(
            f"{where} is not a whole pickle of a MANO model ({error}): download it again, or {_SAVED_AGAIN}"
        ) from None
    arrays = {}
    for name in _SHAPES:
        if name in content:
            try:
                arrays[name] = array_of(content[name])
            except PickledArraysError as error:
                raise ManoError(f"{where}: {name}: {error}: download it again, or {_SAVED_AGAIN}") from None
    return arrays


def _read_npz(raw: bytes, where: str) -> Arrays:
    try:
        return read_npz(raw, _LARGEST)
    except ContentError as error:
        raise ManoError(f"{where}: {error}; {_SAVED_AGAIN}") from None


def _checked(arrays: Arrays, where: str) -> Arrays:
    """The arrays of _SHAPES as float64 and int64. Raises ManoError for anything that is not a MANO model."""
    if absent := [name for name in _SHAPES if name not in arrays]:
        raise ManoError(f"{where} has no {', '.join(absent)}: it is not a MANO hand model")
    checked = {}
    for name, shape in _SHAPES.items():
        array = arrays[name]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.shape != shape:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ManoError(f"{where}: {name} is {found}, where numbers of shape {shape} belong")
        if not np.isfinite(array).all() or (np.abs(array) > 2**33).any():
            raise ManoError(f"{where}: {name} holds NaN, infinity or an absurd number")
        checked[name] = array.astype(np.int64 if name in ("f", "kintree_table") else np.float64)
    faces, tree = checked["f"], checked["kintree_table"]
    if faces.min() < 0 or faces.max() >= NUM_VERTICES:
        raise ManoError(f"{where}: f names vertices that do not exist")
    tree[0, 0] = -1  # official files store 2^32 - 1
    if tree[0].tolist() != list(_PARENTS):
        raise ManoError(f"{where}: kintree_table is not MANO's tree of joints")
    if np.abs(checked["weights"].sum(axis=1) - 1).max() > 1e-3:
        raise ManoError(f"{where}: weights do not add up to 1 at every vertex")
    return checked
