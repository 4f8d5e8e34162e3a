"""Names and orders of the 21 joints, the only place where one order becomes another.

Order   the library's own: wrist, then thumb, index, middle, ring, little, each from its base to its tip
Frames  none: a reorder moves rows, never coordinates

Index lists for joints appear nowhere else in the library. Every known order is a tuple of the names below,
so that a conversion is a lookup by name and its inverse cannot disagree with it.
"""

from jaxtyping import Shaped
from torch import Tensor

DIGITS = ("thumb", "index", "middle", "ring", "little")
BONES = ("metacarpal", "proximal", "middle", "distal")


def _digit(name: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in numbers)


def _digits(order: tuple[str, ...], *numbers: int) -> tuple[str, ...]:
    return tuple(joint for name in order for joint in _digit(name, *numbers))


_MANO_DIGITS = ("index", "middle", "little", "ring", "thumb")

JOINT_ORDERS: dict[str, tuple[str, ...]] = {
    # Joint 1 is a digit's base (thumb: CMC; fingers: MCP), 4 its tip.
    "hands": ("wrist", *_digits(DIGITS, 1, 2, 3, 4)),
    # FreiHAND, OpenPose and MediaPipe: the library's own order.
    "freihand": ("wrist", *_digits(DIGITS, 1, 2, 3, 4)),
    # HALO's sample sequence; tests/hand/test_skeleton.py proves it from the data.
    "halo": ("wrist", *_digits(DIGITS, 1, 2, 3, 4)),
    # InterHand2.6M: one hand's rows; tips first, the wrist last. Rows 21-41 of a file are the left hand.
    "interhand26m": (*_digits(DIGITS, 4, 3, 2, 1), "wrist"),
    # MANO's and smplx's own 16 joints: no tips, the little finger before the ring finger.
    "mano": ("wrist", *_digits(_MANO_DIGITS, 1, 2, 3)),
    # The same with five tip vertices appended, as HO3D stores them.
    "ho3d": ("wrist", *_digits(_MANO_DIGITS, 1, 2, 3), *_digits(DIGITS, 4)),
    # RHD, one hand's rows: the wrist first, then each digit from its tip to its base.
    "rhd": ("wrist", *_digits(DIGITS, 4, 3, 2, 1)),
    # Re:InterHand: 24 rows, with the carpal ends of thumb and little finger and a stub of the forearm.
    "reinterhand": (
        "wrist", *_digit("thumb", 0, 1, 2, 3, 4), *_digits(("index", "middle", "ring"), 1, 2, 3, 4),
        *_digit("little", 0, 1, 2, 3, 4), "forearm",
    ),
}  # fmt: skip

JOINTS = JOINT_ORDERS["hands"]
NUM_JOINTS = len(JOINTS)

PARENTS: tuple[int, ...] = (-1, *(0 if joint % 4 == 1 else joint - 1 for joint in range(1, NUM_JOINTS)))
"""Parent of each joint in the library's order; the wrist has none (-1)."""

EDGES: tuple[tuple[int, int], ...] = tuple((PARENTS[joint], joint) for joint in range(1, NUM_JOINTS))
"""The 20 bones as (parent, child), digit by digit, from the wrist outwards: bone b ends in joint b + 1."""


def reorder(
    joints: Shaped[Tensor, "*batch source_joint channel"], source: str, target: str, fill: float | None = None
) -> Shaped[Tensor, "*batch target_joint channel"]:
    """Rows of `joints`, given in the order named `source`, in the order named `target`.

    Joints that only the source has are dropped. Joints that only the target has are set to `fill`.
    Raises ValueError for an unknown order, a wrong number of rows, and missing joints without `fill`.
    """
    for name in (source, target):
        if name not in JOINT_ORDERS:
            raise ValueError(f"unknown joint order {name!r}; known are {', '.join(JOINT_ORDERS)}")
    source_order, target_order = JOINT_ORDERS[source], JOINT_ORDERS[target]
    if joints.shape[-2] != len(source_order):
        raise ValueError(
            f"joint order {source!r} has {len(source_order)} joints, but {joints.shape[-2]} rows were given"
        )
    missing = [name for name in target_order if name not in source_order]
    if not missing:
        return joints[..., [source_order.index(name) for name in target_order], :]
    if fill is None:
        raise ValueError(f"{source!r} has no {', '.join(missing)}, which {target!r} asks for; give `fill`")
    result = joints.new_full((*joints.shape[:-2], len(target_order), joints.shape[-1]), fill)
    kept = [row for row, name in enumerate(target_order) if name in source_order]
    result[..., kept, :] = joints[..., [source_order.index(target_order[row]) for row in kept], :]
    return result
