"""What two hands do together: key poses, and how the hands take part in each interaction.

Chapter  book/foundations/two_hand_world.md
Units    metres; degrees
Frames   a pair is designed with the right hand on the side of -x, its palm towards +x, and the left hand as
         its mirror image

`pair_sampling` draws pairs from it.
"""

from dataclasses import dataclass

from hands_lib.hand.skeleton import DIGITS

# Key poses: a row per digit, thumb to little finger: base flexion, base abduction, middle and end flexion,
# degrees.
_FIST_FINGERS = ((76, 4, 96, 58), (80, 0, 100, 60), (80, -3, 98, 58), (78, -6, 92, 55))
_STRAIGHT = ((2, 2, 4, 3), (1, 0, 4, 3), (2, -2, 4, 3), (2, -4, 5, 4))


def _fingers(thumb, index=None, middle=None, ring=None, little=None):
    """A key pose: given fingers, the others in a fist."""
    given = (index, middle, ring, little)
    return (thumb, *(own or closed for own, closed in zip(given, _FIST_FINGERS, strict=True)))


KEY_POSES: dict[str, tuple[tuple[float, ...], ...]] = {
    "flat": ((-16, -20, 6, 8), *((-1, a, 2, 2) for a in (1, 0, -1, -2))),
    "open": ((8, 12, 6, 4), (4, 4, 6, 4), (2, 0, 7, 4), (4, -3, 8, 5), (7, -7, 9, 5)),
    "spread": ((-5, 22, 4, 4), (4, 15, 6, 4), (3, 3, 6, 4), (4, -9, 7, 4), (6, -22, 8, 5)),
    "relaxed": ((8, 5, 12, 10), (18, 3, 28, 14), (24, 0, 32, 16), (28, -2, 34, 17), (30, -5, 36, 18)),
    "cupped": ((15, 5, 10, 10), (35, 2, 22, 12), (37, 0, 24, 12), (38, -1, 24, 12), (40, -3, 24, 12)),
    "fist": ((34, -8, 38, 42), *_FIST_FINGERS),
    "thumb_out": ((-10, 10, 2, 0), *_FIST_FINGERS),
    "point": _fingers((30, -5, 34, 35), index=_STRAIGHT[0]),
    "victory": _fingers((32, -6, 36, 38), index=(3, 14, 4, 3), middle=(2, -10, 4, 3)),
    "three": _fingers((34, -8, 38, 40), (3, 12, 4, 3), (2, 0, 4, 3), (3, -12, 4, 3)),
    "four": ((38, -12, 40, 35), (3, 8, 4, 3), (2, 2, 4, 3), (3, -5, 4, 3), (4, -14, 5, 4)),
    "ring_of_two": ((30, 4, 22, 26), (46, 4, 52, 28), (10, 0, 14, 8), (6, -4, 12, 7), (6, -10, 12, 8)),
    "horns": _fingers((32, -6, 36, 38), index=_STRAIGHT[0], little=_STRAIGHT[3]),
    "little": _fingers((32, -6, 36, 38), little=_STRAIGHT[3]),
    "corner": _fingers((-12, 20, 2, 0), index=_STRAIGHT[0]),
    "telephone": _fingers((-12, 20, 2, 0), little=(3, -16, 5, 4)),
    "claw": ((10, 15, 25, 25), (5, 8, 62, 35), (4, 2, 64, 36), (5, -4, 64, 36), (7, -10, 62, 35)),
    "round": ((28, 8, 18, 20), (48, 2, 45, 25), (50, 0, 46, 25), (51, -1, 46, 25), (52, -3, 45, 25)),
    "interlaced": ((-16, -18, 6, 6), (6, 22, 5, 3), (5, 6, 5, 3), (5, -6, 5, 3), (7, -28, 5, 3)),
    "interlaced_low": ((26, -8, 24, 20), (6, 22, 5, 3), (5, 6, 5, 3), (5, -6, 5, 3), (7, -28, 5, 3)),
    "interlaced_closed": (
        (20, 5, 30, 20), (72, 22, 70, 35), (72, 6, 72, 35), (72, -6, 72, 35), (72, -28, 68, 35),
    ),
    "wrapped": ((38, 0, 32, 30), (62, 3, 66, 38), (64, 0, 68, 38), (64, -2, 68, 38), (64, -4, 66, 38)),
}  # fmt: skip
_LETTERS = (
    "flat", "open", "spread", "relaxed", "fist", "thumb_out", "point", "victory", "three", "four",
    "ring_of_two", "horns", "little", "corner", "telephone", "claw", "round",
)  # fmt: skip


@dataclass(frozen=True)
class HandRole:
    """How a hand takes part, before the pair is turned as a whole."""

    poses: tuple[str, ...]
    """One is drawn, or a mixture of two."""
    anchor: tuple[str, ...]
    """The joints whose mean meets the other hand's; one name of several tips is drawn where `tips`."""
    lean: tuple[float, float] = (0.0, 0.0)
    """Mean and deviation, degrees: turns the fingers towards the other hand,"""
    pitch: tuple[float, float] = (0.0, 0.0)
    """to the side of the little finger,"""
    turn: tuple[float, float] = (0.0, 0.0)
    """and about themselves."""
    closed: str | None = None
    """Key pose towards which fingers bend until they touch."""
    tips: bool = False


@dataclass(frozen=True)
class Interaction:
    """One kind of thing that two hands do. The roles change sides at random."""

    first: HandRole
    second: HandRole
    offset: tuple[float, float] = (0.0, 0.0)
    """Of the second hand's anchor across the sweep, up and to the little finger's side, metres on a hand of
    the rest size (so are the others)."""
    scatter: float = 0.006
    """Standard deviation of that offset, metres."""
    gap: tuple[float, float] = (0.0002, 0.0009)
    """Least and greatest distance along the sweep, metres."""
    jitter: float = 4.0
    """Standard deviation of every joint angle, degrees."""
    alternate: bool = False
    """Whether the offset to the side may have either sign."""
    overlap: float | None = None
    """Least distance along the sweep by which the hands' middle fingers must have passed each other,
    metres."""
    search: float = 0.0
    """The offset to the side may change by this much, metres: the one is taken that lets the hands come
    closest."""


_PALM = ("wrist", "index_1", "middle_1", "ring_1", "little_1")
_KNUCKLES = ("index_1", "middle_1", "ring_1", "little_1", "index_2", "middle_2", "ring_2", "little_2")
_TIPS = tuple(f"{digit}_4" for digit in DIGITS)
INTERACTIONS: dict[str, Interaction] = {
    "praying": Interaction(
        HandRole(("flat",), _PALM, (2.0, 4.0), (0.0, 5.0), (0.0, 4.0), closed="cupped"),
        HandRole(("flat",), _PALM, (2.0, 4.0), (0.0, 5.0), (0.0, 4.0), closed="cupped"),
        scatter=0.004, jitter=2.0,
    ),
    "interlocked": Interaction(
        HandRole(
            ("interlaced",), ("middle_2", "ring_2"), (44.0, 6.0), (0.0, 1.5), (0.0, 1.5),
            closed="interlaced_closed",
        ),
        HandRole(
            ("interlaced_low",), ("middle_2", "ring_2"), (44.0, 6.0), (0.0, 1.5), (0.0, 1.5),
            closed="interlaced_closed",
        ),
        offset=(0.0, 0.0225), scatter=0.0008, jitter=0.8, alternate=True, search=0.005, overlap=0.02,
    ),
    "clasp": Interaction(
        HandRole(("relaxed", "open"), _PALM, (0.0, 6.0), (42.0, 10.0), (0.0, 6.0), closed="wrapped"),
        HandRole(("relaxed", "open"), _PALM, (0.0, 6.0), (-42.0, 10.0), (0.0, 6.0), closed="wrapped"),
        scatter=0.008,
    ),
    "fist_in_palm": Interaction(
        HandRole(("fist",), _KNUCKLES, (86.0, 10.0), (0.0, 25.0), (0.0, 10.0)),
        HandRole(("open", "relaxed"), _PALM, (0.0, 8.0), (0.0, 15.0), (0.0, 8.0), closed="wrapped"),
        offset=(0.006, 0.0), scatter=0.007, jitter=3.0,
    ),
    "pointing": Interaction(
        HandRole(("point",), ("index_4",), (82.0, 12.0), (0.0, 20.0), (0.0, 20.0)),
        HandRole(("flat", "open", "spread"), _PALM, (0.0, 8.0), (0.0, 20.0), (0.0, 10.0)),
        scatter=0.014,
    ),
    "counting": Interaction(
        HandRole(("point",), ("index_4",), (84.0, 8.0), (0.0, 12.0), (0.0, 25.0)),
        HandRole(("spread", "open", "four"), _TIPS, (0.0, 10.0), (0.0, 10.0), (0.0, 30.0), tips=True),
        scatter=0.002, jitter=3.0,
    ),
    "stacked": Interaction(
        HandRole(("flat", "open", "relaxed"), _PALM, (0.0, 5.0), (25.0, 15.0), (0.0, 5.0), closed="wrapped"),
        HandRole(("flat", "open", "relaxed"), _PALM, (0.0, 5.0), (-25.0, 15.0), (180.0, 5.0)),
        scatter=0.010,
    ),
    "spelling": Interaction(
        HandRole(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 40.0)),
        HandRole(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 40.0)),
        scatter=0.020, gap=(0.0005, 0.05), jitter=5.0,
    ),
    "apart": Interaction(
        HandRole(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 60.0)),
        HandRole(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 60.0)),
        scatter=0.020, gap=(0.06, 0.16), jitter=5.0,
    ),
}  # fmt: skip
CONTACT = 0.002  # metres: surfaces that are nearer touch
TOUCHING = tuple(name for name, kind in INTERACTIONS.items() if kind.gap[1] < CONTACT)
