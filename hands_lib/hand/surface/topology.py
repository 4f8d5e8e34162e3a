"""How the vertices of the hand surface are joined: rings around a palm, loops around five digits.

Chapter  book/foundations/hand_model.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-A, gives 307 vertices for the plain and
         699 for the refined mesh, not their layout. This layout is the book's own and reaches both numbers
         with one construction.

The palm is a tube of rings from the wrist to the knuckles. Three webs split its last ring into the loops of
four fingers; the thumb grows from a hole in its side. A digit is a tube of rings that ends in one vertex, and
the wrist is closed by a cap. With D edges of a finger's loop on the back (and as many on the palm) and S at
each side, a loop has k = 2(D + S) edges and a palm ring n = 8D + 2S. With A palm rings, r rings per digit, a
thumb hole of a x b quadrilaterals, 2(a + b) = k, and c = 1 for a vertex in the middle of the cap:

    V = nA + 3(S - 1) - (a - 1)(b - 1) + c + 5(kr + 1),   F = 2V - 4,   E = 3V - 6
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.skeleton import DIGITS

Detail = Literal["plain", "refined"]
PARTS = ("palm", *DIGITS)


@dataclass(frozen=True)
class SurfaceParameters:
    """The numbers that fix a surface's topology; the header's letters in words."""

    dorsal_edges: int
    """D, of a finger's loop on the back of the hand."""
    side_edges: int
    """S, of a finger's loop at each side."""
    palm_rings: int
    """A, from the wrist to the knuckles."""
    digit_rings: int
    """r, beyond the loop where a digit begins; a multiple of three."""
    thumb_hole: tuple[int, int]
    """a along the hand, b around it, in quadrilaterals of the palm."""
    cap_centre: bool
    """Whether the wrist's cap is a fan around a vertex of its own (c = 1) or a zigzag (c = 0)."""

    def __post_init__(self) -> None:
        along, around = self.thumb_hole
        if min(self.dorsal_edges, self.side_edges, along, around) < 1 or self.palm_rings < 2:
            raise ValueError(f"every count must be positive, with two palm rings or more: {self}")
        if 2 * (along + around) != self.loop_edges:
            raise ValueError(
                f"the rim of the thumb hole {self.thumb_hole} needs {self.loop_edges} edges: {self}"
            )
        if along > self.palm_rings - 1 or around > self.side_edges + self.dorsal_edges:
            raise ValueError(f"the thumb hole {self.thumb_hole} does not fit beside the index finger: {self}")
        if self.digit_rings < 3 or self.digit_rings % 3:
            raise ValueError(
                f"a digit has three phalanges with equally many rings, not {self.digit_rings} rings"
            )

    @property
    def loop_edges(self) -> int:
        return 2 * (self.dorsal_edges + self.side_edges)

    @property
    def ring_edges(self) -> int:
        return 8 * self.dorsal_edges + 2 * self.side_edges

    @property
    def num_vertices(self) -> int:
        along, around = self.thumb_hole
        palm = self.ring_edges * self.palm_rings + 3 * (self.side_edges - 1) - (along - 1) * (around - 1)
        return palm + self.cap_centre + 5 * (self.loop_edges * self.digit_rings + 1)

    @property
    def num_faces(self) -> int:
        return 2 * self.num_vertices - 4

    @property
    def hole_first_ring(self) -> int:
        """The palm ring nearest the wrist that touches the thumb hole: as central as possible."""
        return (self.palm_rings - 1 - self.thumb_hole[0]) // 2


SURFACES: dict[Detail, SurfaceParameters] = {
    "plain": SurfaceParameters(2, 2, palm_rings=3, digit_rings=6, thumb_hole=(2, 2), cap_centre=False),
    "refined": SurfaceParameters(3, 3, palm_rings=5, digit_rings=9, thumb_hole=(2, 4), cap_centre=True),
}


@dataclass(frozen=True)
class SurfaceTopology:
    """Faces, and for every vertex its place in the construction."""

    faces: Int[Tensor, "face 3"]
    """Counter-clockwise seen from outside (right hand)."""
    part: Int[Tensor, " vertex"]
    """Index into PARTS."""
    ring: Int[Tensor, " vertex"]
    """Palm: 0 at the wrist to A - 1 at the knuckles and webs. Digits: 1 to r, and r + 1 at the tip."""
    angle: Float[Tensor, " vertex"]
    """Around the ring, radians: 0 at the little finger's side, pi/2 on the back, -pi/2 on the palm; 0 for a
    tip and for the middle of the cap."""
    growth: Int[Tensor, " vertex"]
    """The step at which a vertex appears when the surface grows ring by ring from the wrist to the tips."""


class _Layout:
    """Vertex numbers by place. Order: palm rings, webs, middle of the cap, then digit after digit."""

    def __init__(self, parameters: SurfaceParameters):
        p = self.parameters = parameters
        self.places: list[tuple] = []
        self.palm = [[-1] * p.ring_edges for _ in range(p.palm_rings)]  # -1 within the hole
        along, around = p.thumb_hole
        # The hole's columns are the last ones: the radial side and, if it is wider, some of the palm.
        hole_rings = range(p.hole_first_ring + 1, p.hole_first_ring + along)
        hole_columns = range(p.ring_edges - around + 1, p.ring_edges)
        for ring in range(p.palm_rings):
            for column in range(p.ring_edges):
                if not (ring in hole_rings and column in hole_columns):
                    self.palm[ring][column] = self._add("palm", ring, column)
        self.webs = [[self._add("web", gap, j) for j in range(1, p.side_edges)] for gap in range(3)]
        self.cap = self._add("cap") if p.cap_centre else None
        self.loops = []
        for digit in range(5):
            rings = [
                [self._add("digit", digit, ring, j) for j in range(p.loop_edges)]
                for ring in range(1, p.digit_rings + 1)
            ]
            self.loops.append([self._base_loop(digit), *rings, [self._add("tip", digit)]])

    def _add(self, *place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def _base_loop(self, digit: int) -> list[int]:
        """From the radial corner on the back over the ulnar side and the palm around to the start."""
        p, knuckles = self.parameters, self.palm[-1]
        if digit > 0:
            finger, edges, n = digit - 1, p.dorsal_edges, p.ring_edges
            dorsal = [knuckles[column] for column in range(finger * edges, (finger + 1) * edges + 1)]
            palmar_start = 4 * edges + p.side_edges + (3 - finger) * edges
            palmar = [knuckles[column % n] for column in range(palmar_start, palmar_start + edges + 1)]
            ulnar_side = range(4 * edges + 1, 4 * edges + p.side_edges)
            ulnar = [knuckles[column] for column in ulnar_side] if finger == 3 else self.webs[finger]
            radial_side = range(n - p.side_edges + 1, n)
            radial = (
                [knuckles[column] for column in radial_side] if finger == 0 else self.webs[finger - 1][::-1]
            )
            return [*dorsal, *ulnar, *palmar, *radial]
        along, around = p.thumb_hole
        low, high = p.hole_first_ring, p.hole_first_ring + along
        columns = [column % p.ring_edges for column in range(p.ring_edges - around, p.ring_edges + 1)]
        rim = [
            *((low, column) for column in columns[:-1]),
            *((ring, columns[-1]) for ring in range(low, high)),
            *((high, column) for column in columns[:0:-1]),
            *((ring, columns[0]) for ring in range(high, low, -1)),
        ]
        # The rim starts at its palmar corner near the wrist; the thumb's loop starts where its back begins,
        # which looks to the back of the hand and towards the wrist. A quarter of a turn makes the two agree.
        turn = p.loop_edges // 4
        return [self.palm[ring][column] for ring, column in rim[turn:] + rim[:turn]]

    def faces(self) -> list[tuple[int, int, int]]:
        p, n = self.parameters, self.parameters.ring_edges
        along, around = p.thumb_hole
        triangles = []

        def quad(a: int, b: int, c: int, d: int) -> None:
            triangles.extend([(a, b, c), (a, c, d)])

        for ring in range(p.palm_rings - 1):
            for column in range(n):
                if p.hole_first_ring <= ring < p.hole_first_ring + along and column >= n - around:
                    continue
                following = (column + 1) % n
                quad(
                    self.palm[ring][column], self.palm[ring][following],
                    self.palm[ring + 1][following], self.palm[ring + 1][column],
                )  # fmt: skip
        for rings in self.loops:
            for lower, upper in zip(rings[:-2], rings[1:-1], strict=True):
                for j in range(p.loop_edges):
                    following = (j + 1) % p.loop_edges
                    quad(lower[j], lower[following], upper[following], upper[j])
            last, (tip,) = rings[-2], rings[-1]
            triangles.extend((last[j], last[(j + 1) % p.loop_edges], tip) for j in range(p.loop_edges))
        if self.cap is not None:
            triangles.extend((self.palm[0][(j + 1) % n], self.palm[0][j], self.cap) for j in range(n))
        else:
            # A zigzag from the radial to the ulnar side, so that its edges cross the wrist from back to palm.
            start = n - p.side_edges // 2
            rim = [self.palm[0][(start + j) % n] for j in range(n)]
            for j in range(1, n // 2):
                triangles.append((rim[j], rim[j - 1], rim[-j]))
                if j < n // 2 - 1 or n % 2:
                    triangles.append((rim[j], rim[-j], rim[-j - 1]))
            triangles.append((rim[n // 2], rim[n // 2 - 1], rim[n // 2 + 1]))
        return triangles


def loop_angles(parameters: SurfaceParameters) -> Float[np.ndarray, " loop"]:
    """Angle of every vertex of a digit's ring; the four corners lie on the diagonals."""
    p = parameters
    corners = np.pi * np.array([0.75, 0.25, -0.25, -0.75, -1.25])
    counts = [p.dorsal_edges, p.side_edges] * 2
    spans = [np.linspace(corners[i], corners[i + 1], count + 1)[:-1] for i, count in enumerate(counts)]
    return np.concatenate(spans)


def column_angles(parameters: SurfaceParameters) -> Float[np.ndarray, " ring"]:
    """Angle of every column of the palm, spread like a finger's loop that goes around all four fingers."""
    p = parameters
    corners = np.pi * np.array([0.85, 0.15, -0.15, -0.85, -1.15])
    counts = [4 * p.dorsal_edges, p.side_edges] * 2
    spans = [np.linspace(corners[i], corners[i + 1], count + 1)[:-1] for i, count in enumerate(counts)]
    return np.concatenate(spans)


@cache
def layout(parameters: SurfaceParameters) -> _Layout:
    return _Layout(parameters)


@cache
def topology(parameters: SurfaceParameters) -> SurfaceTopology:
    """Faces and places of the surface with these parameters. Computed once: the tensors are constants."""
    plan, p = layout(parameters), parameters
    loop, columns = loop_angles(p), column_angles(p)
    part, ring, angle = [], [], []
    for kind, *at in plan.places:
        if kind == "palm":
            entry = (0, at[0], columns[at[1]])
        elif kind == "web":
            entry = (0, p.palm_rings - 1, (0.25 - 0.5 * at[1] / p.side_edges) * np.pi)
        elif kind == "cap":
            entry = (0, 0, 0.0)
        elif kind == "digit":
            entry = (at[0] + 1, at[1], loop[at[2]])
        else:
            entry = (at[0] + 1, p.digit_rings + 1, 0.0)
        for values, value in zip((part, ring, angle), entry, strict=True):
            values.append(value)
    part, ring = torch.tensor(part), torch.tensor(ring)
    angle = torch.tensor(np.array(angle), dtype=torch.float32)
    angle = torch.where(angle <= -torch.pi, angle + 2 * torch.pi, angle)
    growth = ring + torch.where(part > 0, p.palm_rings - 1, 0)
    return SurfaceTopology(torch.tensor(plan.faces()), part, ring, angle, growth)
