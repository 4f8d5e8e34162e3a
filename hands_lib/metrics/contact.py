"""How two surfaces touch and how deep they are in each other, by every published definition.

Chapter  book/hand_object/grasps.md
Units    metres, square and cubic metres; tables convert
Frame    any, the same for both surfaces

"Penetration depth" and "intersection volume" have several definitions each, which differ by a factor of ten on
the same meshes; a number without the name of its definition says little. Each one here has its own name and
the code it was read in. In all of them one surface is the *hand*, whose vertices are asked, and the other the
*object*; both are closed.

| depth | definition | used by |
|---|---|---|
| `deepest` | greatest distance of a hand vertex inside the object to the object's surface | Hasson et al. 2019 (ObMan); Jiang et al. 2021 (GraspTTA); as the least signed distance: Karunratanakul et al. 2020 (Grasping Field), 2021 (HALO), Chen et al. 2022, 2023 (AlignSDF, gSDF) |
| `deepest_to_vertex` | the same, to the object's nearest *vertex* | ObMan's loss; Yang et al. 2021 (CPF) |
| `deepest_on_grid` | greatest depth, read from a grid of 32^3 signed distances | Hasson et al. 2021 (HOMan) |
| `mean_on_grid` | mean over *all* hand vertices of the depth from that grid | Wang et al. 2023 (Dense Mutual Attention) |
| `mean`, `mean_inside`, `percentile_95` | over all hand vertices; over those inside, mean and 95th percentile | this book |

| volume | definition | used by |
|---|---|---|
| `surface_voxels` | voxels of 5 mm through which the object's *surface* passes, centre inside the hand | ObMan, GraspTTA |
| `solid_voxels` | these and the voxels whose centre is inside the object | CPF |
| `grid_5_mm`, `grid_1_mm` | points of a grid that are inside both | Grasping Field, AlignSDF and gSDF; HALO |
| `volume` | the same with 96 x 96 x 96 cells of the box that both have in common: within one percent | this book |

| contact, per pair | definition | used by |
|---|---|---|
| `below_zero` | some hand vertex has a signed distance < 0 | Grasping Field, HALO, gSDF; as a depth > 0: HOMan, Dense Mutual Attention |
| `within_5_mm` | some hand vertex is inside or within 5 mm | GraspTTA |
| `share_within_4_mm` | share of the hand's vertices within 4 mm | labels of HO-3D v3 |
| `area_within_2_mm` | area of the hand's surface within 2 mm | this book |
"""  # noqa: E501

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import bounding_box, grid_occupancy, grid_points, inside
from hands_lib.geometry.meshes import GeometryError, check_closed, check_mesh
from hands_lib.structures import Mesh, TensorFields

SDF_RESOLUTION = 32  # of HOMan's grid
VOXEL = 0.005  # metres, of ObMan and all that follow it
_CELLS = 96  # along every side of the box that two surfaces have in common
_MOST_CELLS = 40_000_000  # at once


@dataclass(frozen=True)
class PenetrationDepths(TensorFields):
    """Every definition of depth, metres; see the table of this module."""

    deepest: Float[Tensor, "*batch"]
    deepest_to_vertex: Float[Tensor, "*batch"]
    deepest_on_grid: Float[Tensor, "*batch"]
    mean_on_grid: Float[Tensor, "*batch"]
    mean: Float[Tensor, "*batch"]
    mean_inside: Float[Tensor, "*batch"]
    percentile_95: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class IntersectionVolumes(TensorFields):
    """Every definition of volume, cubic metres; see the table of this module."""

    surface_voxels: Float[Tensor, "*batch"]
    solid_voxels: Float[Tensor, "*batch"]
    grid_5_mm: Float[Tensor, "*batch"]
    grid_1_mm: Float[Tensor, "*batch"]
    volume: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class Contacts(TensorFields):
    """Every definition of contact; see the table of this module."""

    below_zero: Bool[Tensor, "*batch"]
    within_5_mm: Bool[Tensor, "*batch"]
    share_within_4_mm: Float[Tensor, "*batch"]
    area_within_2_mm: Float[Tensor, "*batch"]


def _checked(hand: Mesh, held: Mesh) -> None:
    for mesh in (hand, held):
        check_mesh(mesh)
        check_closed(mesh)
    if hand.vertices.shape[:-2] != held.vertices.shape[:-2]:
        raise GeometryError(
            f"pairs need equal batches, not {tuple(hand.vertices.shape[:-2])} and "
            f"{tuple(held.vertices.shape[:-2])}: expand one of them"
        )
    if hand.vertices.dtype != held.vertices.dtype:
        raise GeometryError(
            f"one surface is {hand.vertices.dtype}, the other {held.vertices.dtype}: convert one with .to()"
        )


def penetration_depths(hand: Mesh, held: Mesh) -> PenetrationDepths:
    """How deep the vertices of `hand` are in `held`, by every definition. Batches of pairs; no gradient.

    Raises GeometryError for surfaces that are not closed, or batches that do not fit.
    """
    _checked(hand, held)
    points, vertices = hand.vertices.detach(), held.vertices.detach()
    depth = -signed_distance(points, Mesh(vertices, held.faces)).distance
    within = depth > 0
    depth = depth.clamp(min=0)
    to_vertex = torch.where(within, torch.cdist(points, vertices).amin(dim=-1), 0.0)
    on_grid = _depth_from_grid(points, Mesh(vertices, held.faces))
    count = within.sum(dim=-1)
    return PenetrationDepths(
        deepest=depth.amax(dim=-1),
        deepest_to_vertex=to_vertex.amax(dim=-1),
        deepest_on_grid=on_grid.amax(dim=-1),
        mean_on_grid=on_grid.mean(dim=-1),
        mean=depth.mean(dim=-1),
        mean_inside=depth.sum(dim=-1) / count.clamp(min=1),
        percentile_95=_quantile_inside(depth, within, 0.95),
    )


def _quantile_inside(depth: Tensor, within: Tensor, share: float) -> Float[Tensor, "*batch"]:
    """Of the vertices inside, interpolated linearly; 0 where there is none."""
    rising = torch.where(within, depth, torch.inf).sort(dim=-1).values
    place = share * (within.sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    low = place.floor().long()
    high = torch.minimum(low + 1, (within.sum(dim=-1, keepdim=True) - 1).clamp(min=0))
    low, part = rising.gather(-1, low), place - low
    value = torch.lerp(low, rising.gather(-1, high), part.to(low.dtype))[..., 0]
    return torch.where(within.any(dim=-1), value, 0.0)


def _depth_from_grid(points: Float[Tensor, "*batch point 3"], mesh: Mesh) -> Float[Tensor, "*batch point"]:
    """Depth interpolated in a grid of signed distances over the mesh's bounding box, 0 outside of it.

    How far the published grid reaches beyond the box does not matter: outside the box no depth is positive.
    """
    batch = points.shape[:-2]
    flat, vertices = (
        points.reshape(-1, *points.shape[-2:]),
        mesh.vertices.reshape(-1, *mesh.vertices.shape[-2:]),
    )
    low, high = bounding_box(vertices)
    grid = grid_points(low, high, SDF_RESOLUTION).flatten(1, 3)
    depth = -signed_distance(grid, Mesh(vertices, mesh.faces)).distance.clamp(max=0)
    depth = depth.unflatten(1, (1, SDF_RESOLUTION, SDF_RESOLUTION, SDF_RESOLUTION))
    place = 2 * (flat - low[:, None]) / (high - low)[:, None] - 1
    found = torch.nn.functional.grid_sample(
        depth, place.flip(-1)[:, None, None], align_corners=True, padding_mode="zeros"
    )[:, 0, 0, 0]
    # A point outside the box is not in the object; zero padding alone would fade over one cell.
    return torch.where((place.abs() <= 1).all(dim=-1), found, 0.0).view(*batch, -1)


def intersection_volumes(hand: Mesh, held: Mesh) -> IntersectionVolumes:
    """The volume that two surfaces share, by every definition. Batches of pairs; no gradient.

    Raises GeometryError as `penetration_depths`.
    """
    _checked(hand, held)
    batch = hand.vertices.shape[:-2]
    pair = [
        Mesh(mesh.vertices.detach().reshape(-1, *mesh.vertices.shape[-2:]), mesh.faces)
        for mesh in (hand, held)
    ]
    surface, solid = _voxel_volumes(*pair, VOXEL)
    grids = (_grid_volumes(*pair, pitch) for pitch in (VOXEL, 0.001))
    values = surface, solid, *grids, _fine_volumes(*pair)
    return IntersectionVolumes(*(value.view(batch) for value in values))


def _common_box(hand: Mesh, held: Mesh) -> tuple[Float[Tensor, "pair 3"], Float[Tensor, "pair 3"]]:
    """Where the bounding boxes overlap; lower above upper where they do not."""
    (low, high), (its_low, its_high) = (bounding_box(mesh.vertices) for mesh in (hand, held))
    return torch.maximum(low, its_low), torch.minimum(high, its_high)


def _grid_volumes(hand: Mesh, held: Mesh, pitch: float) -> Float[Tensor, " pair"]:
    """Points of the grid (the multiples of the pitch) that are inside both, times the cell."""
    low, high = _common_box(hand, held)
    start = (low / pitch).ceil() * pitch
    steps = ((high - start) / pitch).floor().amax(dim=-1).nan_to_num().clamp(min=0).long() + 2
    stop = start + (steps[:, None] - 1) * pitch
    return _count_inside_both(hand, held, start, stop, steps, (start <= high).all(dim=-1)) * pitch**3


def _fine_volumes(hand: Mesh, held: Mesh) -> Float[Tensor, " pair"]:
    """The same with cells that divide the common box, their centres asked."""
    low, high = _common_box(hand, held)
    half = (high - low) / (2 * _CELLS)
    steps = torch.full((len(low),), _CELLS)
    count = _count_inside_both(hand, held, low + half, high - half, steps, (low < high).all(dim=-1))
    return count * (2 * half).clamp(min=0).prod(dim=-1)


def _count_inside_both(
    hand: Mesh, held: Mesh, start: Tensor, stop: Tensor, steps: Int[Tensor, " pair"], meets: Tensor
) -> Float[Tensor, " pair"]:
    """How many points of each pair's grid are inside both surfaces; pairs with as many steps run together."""
    count = torch.zeros(len(start), dtype=hand.vertices.dtype)
    for number in steps[meets].unique().tolist():
        chosen = (meets & (steps == number)).nonzero().flatten()
        for rows in chosen.split(max(1, _MOST_CELLS // number**3)):
            first, second = (
                grid_occupancy(Mesh(mesh.vertices[rows], mesh.faces), number, (start[rows], stop[rows]))
                for mesh in (hand, held)
            )
            count[rows] = (first & second).flatten(1).sum(dim=1).to(count)
    return count


def _voxel_volumes(
    hand: Mesh, held: Mesh, pitch: float
) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """Volume of the object's surface voxels and of its solid ones whose centre is inside the hand.

    Voxels are centred at the multiples of `pitch`; the surface passes through those that hold one of its
    points, taken densely enough that none of any size is missed.
    """
    num = len(hand.vertices)
    low, high = (bound / pitch for bound in bounding_box(held.vertices))
    origin = low.floor().long() - 1
    size = (high.ceil().long() + 2 - origin).amax(dim=0)
    points = _dense_points(held, pitch / 4)
    index = (points / pitch).round().long() - origin[:, None]
    flat = (index[..., 0] * size[1] + index[..., 1]) * size[2] + index[..., 2]
    shell = torch.zeros(num, int(size.prod()), dtype=torch.bool, device=points.device)
    shell.scatter_(1, flat, True)
    axes = torch.meshgrid(*(torch.arange(int(count)) for count in size), indexing="ij")
    centres = torch.stack(axes, dim=-1).view(-1, 3).to(points.device)
    # Only what may be in the hand is asked.
    places = ((centres + origin[:, None]) * pitch).to(held.vertices.dtype)
    hand_low, hand_high = (bound[:, None] for bound in bounding_box(hand.vertices))
    near = ((places >= hand_low) & (places <= hand_high)).all(dim=-1)
    chosen = near.any(dim=0)
    if not chosen.any():
        return hand.vertices.new_zeros(num), hand.vertices.new_zeros(num)
    places = places[:, chosen]
    in_hand = inside(places, hand) & near[:, chosen]
    shell = shell[:, chosen]
    solid = shell | inside(places, held)
    cell = pitch**3
    return tuple((in_hand & kind).sum(dim=1).to(hand.vertices.dtype) * cell for kind in (shell, solid))


def _dense_points(mesh: Mesh, spacing: float) -> Float[Tensor, "pair point 3"]:
    """Points on every face of every mesh, no farther apart than `spacing`."""
    corners = mesh.vertices[:, mesh.faces]
    longest = (corners - corners.roll(1, dims=2)).norm(dim=-1).amax(dim=(0, 2))
    # Faces of about one size share a pattern of points, so that few large ones do not make all of them dense.
    steps = (longest / spacing).ceil().clamp(min=1).log2().ceil()
    found = []
    for level in steps.unique().tolist():
        count = int(2**level)
        i, j = torch.meshgrid(torch.arange(count + 1), torch.arange(count + 1), indexing="ij")
        keep = i + j <= count
        i, j = i[keep] / count, j[keep] / count
        weights = torch.stack([1 - i - j, i, j], dim=-1).to(corners)
        found.append(torch.einsum("tk,bfkc->bftc", weights, corners[:, steps == level]).flatten(1, 2))
    return torch.cat(found, dim=1)


def contacts(hand: Mesh, held: Mesh) -> Contacts:
    """Whether, and how much of, `hand` touches `held`, by every definition. Batches of pairs; no gradient.

    Raises GeometryError as `penetration_depths`.
    """
    _checked(hand, held)
    points = hand.vertices.detach()
    distance = signed_distance(points, Mesh(held.vertices.detach(), held.faces)).distance
    return Contacts(
        below_zero=distance.amin(dim=-1) < 0,
        within_5_mm=distance.amin(dim=-1) < 0.005,
        share_within_4_mm=(distance < 0.004).to(points.dtype).mean(dim=-1),
        area_within_2_mm=area_within(Mesh(points, hand.faces), distance, 0.002),
    )


def area_within(
    mesh: Mesh, distance: Float[Tensor, "*batch vertex"], limit: float
) -> Float[Tensor, "*batch"]:
    """Area of the surface where `distance`, linear on every face, is below `limit`; square metres.

    Exact for that linear function: a face of which one corner is below keeps the triangle that the level cuts
    off, one of which two are below all but such a triangle.
    """
    corners = mesh.vertices[..., mesh.faces.long(), :]
    a, b, c = corners.unbind(dim=-2)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2
    level = distance[..., mesh.faces.long()] - limit
    below = level < 0
    count = below.sum(dim=-1)
    # The corner that is alone on its side: its part of the face is the product of two ratios.
    alone = torch.where(count == 1, below.long().argmax(dim=-1), (~below).long().argmax(dim=-1))
    own = level.gather(-1, alone[..., None])[..., 0]
    others = [level.gather(-1, ((alone + k) % 3)[..., None])[..., 0] for k in (1, 2)]
    cut = 1.0
    for other in others:
        span = own - other
        cut = cut * (own / torch.where(span == 0, 1.0, span)).clamp(0, 1)
    share = torch.where(count == 1, cut, torch.where(count == 2, 1 - cut, (count == 3).to(cut)))
    return (share * area).sum(dim=-1)


def disjoint_regions(
    distance: Float[Tensor, "*batch vertex"], region: Int[Tensor, " vertex"], num: int
) -> Float[Tensor, "*batch region"]:
    """Least distance of every region of the hand to the object, metres, 0 where it is inside.

    Yang et al. 2021 (CPF) average it over 17 regions as "disjointness"; the regions are the caller's.
    """
    nearest = distance.new_full((*distance.shape[:-1], num), math.inf)
    index = region.expand(distance.shape)
    return nearest.scatter_reduce(-1, index, distance, "amin").clamp(min=0)
