"""Skin as a function of the point on the hand: albedo and gloss, the same from every view.

Units   millimetres at rest inside; colours are linear RGB
Frame   hand frame at rest, right hand (a left hand wears the mirror image)

A texture is a triangle of `TEXELS` values on every face, which the renderer interpolates. Neighbouring faces
have the same values along their common edge, because a value depends on the rest position alone.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.normals import vertex_normals
from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface import hand_surface, surface_topology

SUBDIVISION = 8
TEXELS = (SUBDIVISION + 1) * (SUBDIVISION + 2) // 2
_CREASES = {  # start, control, end of the palm's lines; x, y, by eye
    "heart": ((41.0, 58.0), (12.0, 50.0), (-13.0, 76.0)),
    "head": ((-27.0, 60.0), (-2.0, 60.0), (30.0, 36.0)),
    "life": ((-27.0, 60.0), (6.0, 46.0), (-7.0, 6.0)),
    "middle": ((2.0, 20.0), (3.0, 40.0), (1.0, 66.0)),
}
_VEINS = (
    ((2.0, 4.0), (-8.0, 40.0), (-12.0, 72.0)), ((6.0, 4.0), (14.0, 34.0), (10.0, 72.0)),
    ((12.0, 4.0), (30.0, 30.0), (27.0, 64.0)), ((-8.0, 6.0), (-18.0, 30.0), (-24.0, 66.0)),
    ((-2.0, 40.0), (6.0, 44.0), (14.0, 40.0)),
)  # fmt: skip
_NAIL = torch.tensor((0.64, 0.37, 0.32))


@cache
def rest_vertices() -> Float[Tensor, "vertex 3"]:
    """The refined surface of the rest hand, metres: what dense correspondences refer to."""
    return hand_surface(forward_kinematics(rest_pose(like=torch.zeros(()))), detail="refined").vertices


@cache
def texel_weights() -> Float[Tensor, "texel 3"]:
    """Barycentrics of a face's texels: row by row towards the second corner, in a row towards the third."""
    steps = [(i, j) for i in range(SUBDIVISION + 1) for j in range(SUBDIVISION + 1 - i)]
    i, j = torch.tensor(steps, dtype=torch.float32).T / SUBDIVISION
    return torch.stack([1 - i - j, i, j], dim=-1)


class _Places:
    """Where every texel of the refined surface lies on the rest hand."""

    def __init__(self):
        topology = surface_topology("refined")
        vertices, faces = 1000 * rest_vertices(), topology.faces
        skeleton = forward_kinematics(rest_pose(like=torch.zeros(())))

        def at_texels(values):
            return torch.einsum("tk,fkc->ftc", texel_weights(), values[faces]).flatten(0, 1)

        self.position = at_texels(vertices)
        mesh = hand_surface(skeleton, detail="refined")
        self.normal = torch.nn.functional.normalize(at_texels(vertex_normals(mesh)), dim=-1)
        part = topology.part[faces].amax(dim=1)
        # A face between palm and digit belongs to both: its digit decides, the palm fades out along it.
        self.part = part.repeat_interleave(TEXELS)
        joints = 1000 * skeleton.joints[1:].unflatten(0, (5, 4))
        digit = (self.part - 1).clamp(min=0)
        frame = skeleton.bone_rotations[digit, 1]
        local = ((self.position - joints[digit, 0])[:, None] @ frame)[:, 0]
        self.across, self.along, self.dorsal = local.unbind(dim=-1)
        lengths = (joints[:, 1:] - joints[:, :-1]).norm(dim=-1).cumsum(dim=1)
        self.knuckles = lengths[digit]  # distances of middle joint, end joint and tip from the base joint
        self.on_digit = self.part > 0
        self.turn = (self.normal[:, None] @ frame)[:, 0]
        # From palm to digit the recipe changes gradually, so that no edge shows.
        self.free = self.on_digit * torch.sigmoid((self.along - 24) / 3)
        up = torch.lerp(self.normal[:, 2], self.turn[:, 2], self.free)
        self.back = torch.sigmoid(up / 0.22)  # 1 on the back, 0 on the palm side

    def from_curve(self, curve, where) -> Tensor:
        """Distance to a quadratic curve in the palm's plane; far where `where` is false."""
        a, b, c = (torch.tensor(point) for point in curve)
        t = torch.linspace(0, 1, 48)[:, None]
        points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        distance = torch.full((len(self.position),), 1e3)
        distance[where] = torch.cdist(self.position[where, :2], points).amin(dim=1)
        return distance


_places = cache(_Places)


@cache
def _curves() -> tuple[list[Tensor], list[Tensor]]:
    """Distances of all texels to the palm's creases and to the veins."""
    places = _places()
    palm = (places.part < 2) & (places.normal[:, 2] < 0.2)
    back = (places.part == 0) & (places.normal[:, 2] > -0.2)
    return [places.from_curve(c, palm) for c in _CREASES.values()], [
        places.from_curve(c, back) for c in _VEINS
    ]


def _noise(points: Tensor, cell: float, table: Tensor) -> Tensor:
    """Smooth noise in [-1, 1] with features of the size `cell`, millimetres; `table` is 32^3 random
    numbers."""
    scaled = points / cell
    low = scaled.floor()
    share = scaled - low
    share = share * share * (3 - 2 * share)
    low = low.long()
    total = torch.zeros(len(points))
    for corner in range(8):
        step = torch.tensor([corner >> 2, corner >> 1 & 1, corner & 1])
        x, y, z = ((low + step) % 32).unbind(dim=-1)
        weight = torch.where(step.bool(), share, 1 - share).prod(dim=-1)
        total = total + weight * table[x, y, z]
    return total


def _bump(distance: Tensor, width: float) -> Tensor:
    return torch.exp(-((distance / width) ** 2))


def hand_textures(skin: Float[Tensor, "3"], seed: int) -> Float[Tensor, "2 face texel 4"]:
    """Red, green, blue and gloss of the right and the left hand of a person; left faces are turned.

    Both hands share everything but the place of their spots and rings.
    """
    places, generator = _places(), torch.Generator().manual_seed(seed)
    table = 2 * torch.rand(32, 32, 32, generator=generator) - 1
    draw = torch.rand(24, generator=generator)
    melanin = float(1 - skin.mean() / 0.5)  # dark skin has paler palms and less visible blood
    melanin = min(max(melanin, 0.0), 1.0)
    p, back = places.position, places.back
    palm_side = 1 - back
    colour = skin.expand(len(p), 3).clone()
    palm_tone = torch.lerp(
        skin * torch.tensor([1.08, 0.93, 0.93]), torch.tensor([0.52, 0.31, 0.24]), 0.45 * melanin
    )
    colour = torch.lerp(colour, palm_tone, (palm_side * 0.9)[:, None])
    # Mottling: large red patches, fine grain.
    blood = 0.55 * _noise(p, 14.0, table) + 0.45 * _noise(p + 7, 6.0, table)
    colour = colour * (
        1 + (0.5 + 0.5 * palm_side)[:, None] * blood[:, None] * torch.tensor([0.05, 0.12, 0.11])
    )
    grain = _noise(p, 1.7, table) * 0.6 + _noise(p + 3, 0.9, table) * 0.4
    colour = colour * (1 + 0.06 * grain)[:, None]
    along, knuckles = places.along, places.knuckles
    thumb = places.part == 1
    digit = places.on_digit

    def tint(amount, towards):
        return torch.lerp(colour, colour * torch.tensor(towards), amount.clamp(0, 1)[:, None])

    # Blood shows at the tips, over the knuckles and on the balls of the palm.
    tip = digit * torch.sigmoid((along - knuckles[:, 2] + 12) / 4)
    over = digit * back * (_bump(along - knuckles[:, 0], 7.0) * ~thumb + _bump(along - knuckles[:, 1], 5.0))
    base = back * (1 - places.free) * _bump(p[:, 1] - 84, 9.0) * ~thumb
    ball = palm_side * (1 - places.free) * (_bump((p[:, :2] - torch.tensor([-20.0, 30.0])).norm(dim=1), 20.0))
    reddish = (0.55 * tip + 0.5 * over + 0.4 * base + 0.45 * ball) * (1 - 0.6 * melanin)
    colour = tint(reddish, (1.06, 0.74, 0.74))
    colour = tint((0.5 * over + 0.35 * base) * (0.3 + melanin), (0.72, 0.66, 0.62))

    # Creases: darker and redder lines.
    creases, veins = _curves()
    wobble = 1.1 * _noise(p, 9.0, table)
    lines = torch.zeros(len(p))
    for n, distance in enumerate(creases):
        strength = (0.9, 0.85, 1.0, 0.35 * float(draw[0]))[n]
        lines = torch.maximum(lines, strength * _bump(distance + wobble, 1.3) * palm_side)
        lines = torch.maximum(lines, 0.30 * strength * _bump(distance + wobble, 3.4) * palm_side)
    for joint, offsets, width in ((0, (-1.2, 1.3), 0.8), (1, (0.0,), 0.75)):
        for offset in offsets:
            distance = along - knuckles[:, joint] - offset + 0.35 * wobble
            lines = torch.maximum(lines, 0.8 * digit * palm_side * _bump(distance, width))
    at_base = along - torch.where(thumb, 34.0, 18.0) + 0.4 * wobble
    lines = torch.maximum(lines, 0.7 * digit * palm_side * _bump(at_base, 0.9))
    folds = torch.zeros(len(p))
    for joint, reach, strength in ((0, 4.5, 0.85), (1, 2.6, 0.7)):
        distance = along - knuckles[:, joint]
        arcs = distance + 0.02 * places.across**2 * torch.tanh(distance) + 0.8 * wobble
        ripple = (0.5 + 0.5 * torch.cos(2 * torch.pi * arcs / 2.3)) ** 3
        folds = torch.maximum(folds, strength * digit * back * ripple * _bump(distance, reach))
    colour = tint(0.75 * lines, (0.62, 0.42, 0.40))
    colour = tint(0.55 * folds, (0.55, 0.46, 0.44))
    wrist = _bump(p[:, 1] - 4 + wobble, 0.9) + 0.7 * _bump(p[:, 1] - 8 + wobble, 0.8)
    colour = tint(0.5 * wrist * palm_side * ~digit, (0.65, 0.46, 0.44))
    vein = torch.zeros(len(p))
    for distance in veins:
        vein = torch.maximum(vein, _bump(distance + 2.5 * _noise(p, 16.0, table), 1.7))
    colour = tint((0.2 + 0.5 * float(draw[1])) * vein * back * (1 - 0.5 * melanin), (0.74, 0.88, 0.98))

    gloss = 0.030 + 0.018 * grain + 0.02 * tip
    # Nails: a rounded rectangle on the back of the last bone, lunula, free edge, and a fold around it.
    last = knuckles[:, 2] - knuckles[:, 1]
    half_width = torch.where(thumb, 7.2, 5.9) * torch.where(places.part == 5, 0.84, 1.0)
    centre, half_length = knuckles[:, 1] + 0.66 * last, 0.31 * last
    x, y = places.across / half_width, (along - centre) / half_length
    shape = (x.abs() ** 3.2 + y.abs() ** (2.4 + 1.6 * (y > 0))) ** (1 / 3)
    on_back = digit * torch.sigmoid((places.turn[:, 2] + 0.05) / 0.02)
    nail = on_back * torch.sigmoid((1 - shape) / 0.035)
    rim = on_back * _bump(shape - 1.07, 0.09)
    colour = tint(0.55 * rim, (0.62, 0.5, 0.48))
    nail_colour = torch.lerp(_NAIL, skin, 0.35 + 0.25 * melanin).expand_as(colour)
    lunula = torch.sigmoid((0.38 - (x**2 + ((y + 1.0) / 0.75) ** 2) ** 0.5) / 0.05)
    edge = torch.sigmoid((y + 0.12 * x**2 - 0.80) / 0.04)
    nail_colour = torch.lerp(nail_colour, torch.tensor([0.74, 0.60, 0.54]), (0.55 * lunula)[:, None])
    nail_colour = torch.lerp(nail_colour, torch.tensor([0.80, 0.74, 0.66]), (0.8 * edge)[:, None])
    colour = torch.lerp(colour, nail_colour, nail[:, None])
    gloss = torch.lerp(gloss, torch.tensor(0.16), nail)

    hands = []
    for side in range(2):
        own_colour, own_gloss = colour, gloss
        # Spots of the skin, each hand its own.
        spots = torch.rand(14, generator=generator)
        at = torch.randint(len(p), (14,), generator=generator)
        near = torch.cdist(p, p[at]) + 0.5 * wobble[:, None]
        speckle = (torch.sigmoid((0.5 + 0.9 * spots - near) / 0.2) * (spots > 0.55)).amax(dim=1) * back
        own_colour = torch.lerp(
            own_colour, own_colour * torch.tensor([0.45, 0.38, 0.34]), 0.8 * speckle[:, None]
        )
        if draw[2 + side] < 0.25:
            finger = 3 + int(draw[4 + side] < 0.7)  # middle or ring finger
            band = (places.part == finger) * torch.sigmoid((1.6 - (along - 23.5).abs()) / 0.15)
            metal = torch.tensor([0.70, 0.48, 0.17]) if draw[6] < 0.6 else torch.tensor([0.55, 0.55, 0.58])
            rims = 1 - 0.55 * _bump((along - 23.5).abs() - 2.2, 0.7) * (places.part == finger)
            own_colour = torch.lerp(own_colour * rims[:, None], 0.6 * metal, band[:, None])
            own_gloss = torch.lerp(own_gloss, torch.tensor(0.55), band)
        hands.append(torch.cat([own_colour.clamp(0.004, 0.95), own_gloss[:, None].clamp(min=0.005)], dim=-1))
    right, left = (hand.unflatten(0, (-1, TEXELS)) for hand in hands)
    return torch.stack([right, left[:, _turned_texels()]])


@cache
def _turned_texels() -> Tensor:
    """Which texel of a face lies at each texel of the same face with its corners in reverse order."""
    weights = (texel_weights() * SUBDIVISION).round().long()
    place = {tuple(row.tolist()): n for n, row in enumerate(weights)}
    return torch.tensor([place[tuple(row.flip(0).tolist())] for row in weights])
