"""What one picture of a pair of hands says, before any network.

Frames  world, metres; pixels. Vertices of a pair count through: the right hand's, then the left hand's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import corners_of, signed_distance, unsigned_distance
from hands_lib.geometry.raster import point_visibility, rasterize, vertex_visibility
from hands_lib.structures import Camera, Mesh, TensorFields


@dataclass(frozen=True)
class InputView(TensorFields):
    """The method's input: one picture of a pair for each scene, and the hands fitted to it."""

    image: Float[Tensor, "scene height width 3"]
    """Colours in [0, 1]; black where there is no hand."""
    camera: Camera
    """One for each scene."""
    vertices: Float[Tensor, "scene 2 vertex 3"]
    """Both hands have one topology: vertex n of one is vertex n of the other, mirrored."""
    joints: Float[Tensor, "scene 2 21 3"]
    faces: Int[Tensor, "2 face 3"]
    """Of the right and of the left hand; both look outwards."""

    def __post_init__(self) -> None:
        height, width = self.image.shape[1:3]
        if (self.camera.height, self.camera.width) != (height, width):
            raise ValueError(
                f"the camera takes pictures of {self.camera.height} x {self.camera.width} pixels, but the "
                f"input picture has {height} x {width}"
            )
        if len(self.vertices) != len(self.image) or len(self.camera.intrinsics) != len(self.image):
            raise ValueError(
                f"{len(self.image)} pictures, {len(self.vertices)} pairs of hands and "
                f"{len(self.camera.intrinsics)} cameras: each scene needs one of each"
            )

    @property
    def mesh(self) -> Mesh:
        """Both hands as one mesh for each scene."""
        shift = self.vertices.shape[2] * torch.arange(2, device=self.faces.device)[:, None, None]
        return Mesh(self.vertices.flatten(1, 2), (self.faces + shift).flatten(0, 1))


@dataclass(frozen=True)
class Evidence(TensorFields):
    """What the geometry says about a picture: which vertices it sees, and which pixels show which hand."""

    vertex_visible: Bool[Tensor, "scene vertices"]
    """v of all vertices from the direction of the input picture."""
    silhouettes: Bool[Tensor, "scene 2 height width"]
    """Pixels that see the right hand, and that see the left one."""


@dataclass(frozen=True)
class Located(TensorFields):
    """Query points with what the features are read by; `Queries` is a part of them as a flat list."""

    position: Float[Tensor, "scene *point 3"]
    distance: Float[Tensor, "scene *point"]
    """s(q), to the nearer hand."""
    vertex: Int[Tensor, "scene *point"]
    """p, the nearest vertex of both hands, counted through the pair."""
    visible: Bool[Tensor, "scene *point"]
    """v(q)."""


@dataclass(frozen=True)
class Queries(TensorFields):
    """A flat list of query points."""

    scene: Int[Tensor, " point"]
    position: Float[Tensor, "point 3"]
    distance: Float[Tensor, " point"]
    vertex: Int[Tensor, " point"]
    visible: Bool[Tensor, " point"]


def gather_evidence(view: InputView, definition: str = "exact") -> Evidence:
    """Rasterises the pair in the input view.

    definition  of a visible vertex, see `geometry.raster.vertex_visibility`; "pixel" is that of the released
                code
    """
    mesh = Mesh(view.vertices.detach().flatten(1, 2), view.mesh.faces)
    face = rasterize(mesh, view.camera).face
    hand = torch.where(face >= 0, face // view.faces.shape[1], -1)
    silhouettes = hand[:, None] == torch.arange(2, device=hand.device)[:, None, None]
    return Evidence(vertex_visibility(mesh, view.camera, definition), silhouettes)


def locate(
    points: Float[Tensor, "scene *point 3"],
    view: InputView,
    vertex_visible: Bool[Tensor, "scene vertices"],
    visibility: str = "inherited",
) -> Located:
    """Signed distance, nearest vertex and visibility of query points.

    The distance is taken to each hand by itself, so that its sign is right where hands overlap. Nothing here
    has a gradient: points and surface are given.

    visibility  "inherited": that of the closest point of the surface, interpolated between its vertices and
                held against 0.1 (`geometry.raster.inherited_visibility`), as the released code reads v(q, d);
                "unoccluded": no surface stands between the camera and the point itself, and the point is in
                the picture
    """
    shape, points = points.shape[:-1], points.detach().flatten(1, -2)
    hands = [Mesh(view.vertices[:, side].detach(), view.faces[side]) for side in (0, 1)]
    found = [signed_distance(points, hand) for hand in hands]
    nearer = found[1].distance < found[0].distance
    pair = Mesh(view.vertices.detach().flatten(1, 2), view.mesh.faces)
    if visibility == "inherited":
        # The closest surface is that of the smaller unsigned distance: inside one hand it is its own.
        closer = found[1].distance.abs() < found[0].distance.abs()
        face = torch.where(closer, found[1].face + len(view.faces[0]), found[0].face)
        share = torch.where(closer[..., None], found[1].barycentrics, found[0].barycentrics)
        corners = corners_of(vertex_visible.to(points.dtype)[..., None], pair.faces, face)[..., 0]
        visible = (share * corners).sum(dim=-1) >= 0.1
    elif visibility == "unoccluded":
        visible = point_visibility(points, pair, view.camera)
    else:
        raise ValueError(f'points are visible as "inherited" or "unoccluded", not {visibility!r}')
    # A face whose corners coincide is a vertex: the search for the closest face finds the nearest one.
    as_faces = torch.arange(pair.vertices.shape[1], device=points.device)[:, None].expand(-1, 3)
    nearest = unsigned_distance(points, Mesh(pair.vertices, as_faces.contiguous())).face
    distance = torch.where(nearer, found[1].distance, found[0].distance)
    return Located(points.view(*shape, 3), distance.view(shape), nearest.view(shape), visible.view(shape))


def chosen(located: Located, mask: Bool[Tensor, "scene *point"]) -> Queries:
    """The points of the mask as a flat list, scene by scene."""
    scene = mask.nonzero()[:, 0]
    return Queries(
        scene, located.position[mask], located.distance[mask], located.vertex[mask], located.visible[mask]
    )


def mirrored(vertex: Int[Tensor, " point"], num_vertices: int) -> Int[Tensor, " point"]:
    """p', the vertex of the same number on the other hand; `num_vertices` is that of both hands."""
    return (vertex + num_vertices // 2) % num_vertices
