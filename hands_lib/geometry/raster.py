"""What a camera sees of a mesh: the face at each pixel, and which vertices and points are visible.

Units   whatever the coordinates are in (metres in this library); pixels for the image
Frames  world coordinates in, OpenCV cameras (`structures.Camera`): x right, y down, z forward, and pixel (0,
        0) is the centre of the upper left pixel. Depth is z in the camera frame, not the length of the ray.

A pixel sees the face that its centre's ray meets first; faces have two sides. Nothing is blurred: the image
of the face indices is piecewise constant, so gradients flow through depth, barycentrics and interpolated
attributes, not through silhouettes (soft silhouettes for optimisation are a different method, which this
module is not).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import chosen_version, corners_of, unsigned_distance
from hands_lib.geometry.kernels import dense, zbuffer
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.meshes import GeometryError, check_finite, check_mesh, check_points
from hands_lib.structures import Camera, Mesh, TensorFields


@dataclass(frozen=True)
class Fragments(TensorFields):
    """What each pixel sees."""

    face: Int[Tensor, "*batch height width"]
    """Index of the nearest face, -1 where there is none."""
    barycentrics: Float[Tensor, "*batch height width 3"]
    """Of the point seen, in that face, correct in perspective; 0 where there is none."""
    depth: Float[Tensor, "*batch height width"]
    """z in the camera frame, metres; infinite where there is none."""

    @property
    def foreground(self) -> Bool[Tensor, "*batch height width"]:
        return self.face >= 0

    def interpolate(
        self,
        faces: Int[Tensor, "face 3"],
        attributes: Float[Tensor, "*attributes_batch vertex channel"],
        background: float = 0.0,
    ) -> Float[Tensor, "*batch height width channel"]:
        """Vertex attributes (colours, positions, ...) at what each pixel sees. Differentiable in both."""
        height, width = self.face.shape[-2:]
        corners = corners_of(attributes, faces, self.face.clamp(min=0).flatten(start_dim=-2))
        values = (self.barycentrics.flatten(-3, -2)[..., None] * corners).sum(dim=-2)
        return values.unflatten(-2, (height, width)).where(self.foreground[..., None], background)


def rasterize(
    mesh: Mesh,
    camera: Camera,
    near: float = 0.0,
    backend: Literal["numba", "torch", "pytorch3d"] | None = None,
) -> Fragments:
    """The nearest face at each pixel. The batch dimensions of mesh and camera broadcast.

    near      metres; only what lies beyond this depth is seen. Faces that reach through are cut, not dropped.
    backend   by default compiled loops for tensors on the CPU and torch elsewhere; the two agree in every
              bit. "pytorch3d" asks that library, where it is installed, for the faces (without a near plane).

    Differentiable with respect to vertices and camera through barycentrics and depth.

    Raises:
        GeometryError: for a mesh or camera that is empty, not finite or does not fit the other.
        ImportError: if PyTorch3D is asked for and absent.
    """
    check_mesh(mesh)
    _check_camera(camera, mesh, near)
    homogeneous, depths, batch = _to_image(mesh.vertices, camera)
    default = "numba" if mesh.vertices.device.type == "cpu" else "torch"
    versions = {"numba": _search_numba, "torch": _search_torch, "pytorch3d": _search_pytorch3d}
    search = chosen_version(backend, default, versions, mesh.vertices.device)
    dtype = mesh.vertices.dtype
    faces = mesh.faces.long()
    face, *measured = search(homogeneous.detach(), depths.detach(), faces, camera, near, dtype)
    if homogeneous.requires_grad or not measured:
        measured = _measure(homogeneous, depths, faces, face, dtype)
    return Fragments(*(values.reshape(*batch, *values.shape[1:]) for values in (face, *measured)))


def _check_camera(camera: Camera, mesh: Mesh, near: float) -> None:
    if camera.width < 1 or camera.height < 1:
        raise GeometryError(f"the camera's image has {camera.width} x {camera.height} pixels")
    if camera.projection not in ("perspective", "orthographic"):
        raise GeometryError(f"a camera is perspective or orthographic, not {camera.projection!r}")
    if not near >= 0:
        raise GeometryError(f"the near plane is at depth 0 or beyond, not at {near}")
    if camera.intrinsics.device != mesh.vertices.device:
        raise GeometryError(
            f"the camera is on {camera.intrinsics.device} but the mesh on {mesh.vertices.device}; "
            "move one with .to()"
        )
    check_finite(camera.intrinsics, "the camera's intrinsics")
    check_finite(camera.camera_from_world, "the camera's pose")


def _to_image(
    points: Float[Tensor, "*points_batch point 3"], camera: Camera
) -> tuple[Float[Tensor, "batch point 3"], Float[Tensor, "batch point"], torch.Size]:
    """Homogeneous pixel coordinates and depth in float64, with one batch dimension, and the broadcast
    batch."""
    try:
        batch = torch.broadcast_shapes(points.shape[:-2], camera.intrinsics.shape[:-2])
    except RuntimeError:
        raise GeometryError(
            f"vertices or points come in batches of {tuple(points.shape[:-2])}, cameras of "
            f"{tuple(camera.intrinsics.shape[:-2])}"
        ) from None
    num_points = points.shape[-2]
    tracked = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (points, camera.intrinsics, camera.camera_from_world)
    )
    if points.device.type == "cpu" and not tracked:
        homogeneous = torch.empty(batch.numel(), num_points, 3, dtype=torch.double)
        depths = torch.empty(batch.numel(), num_points, dtype=torch.double)
        inputs = [
            tensor.detach().expand(*batch, *tensor.shape[-2:]).reshape(batch.numel(), *tensor.shape[-2:])
            for tensor in (points, camera.camera_from_world, camera.intrinsics)
        ]
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        zbuffer.to_image(*arrays, camera.projection == "orthographic", homogeneous.numpy(), depths.numpy())
        return homogeneous, depths, batch
    pose = camera.camera_from_world.double()
    in_camera = _transformed(pose[..., :3, :3], points.double()) + pose[..., None, :3, 3]
    depths = in_camera[..., 2]
    if camera.projection == "orthographic":
        in_camera = torch.cat([in_camera[..., :2], torch.ones_like(in_camera[..., 2:])], dim=-1)
    homogeneous = _transformed(camera.intrinsics.double(), in_camera)
    homogeneous = homogeneous.expand(*batch, num_points, 3).reshape(batch.numel(), num_points, 3)
    return homogeneous, depths.expand(*batch, num_points).reshape(batch.numel(), num_points), batch


def _transformed(
    matrix: Float[Tensor, "*matrix_batch 3 3"], points: Float[Tensor, "*points_batch point 3"]
) -> Float[Tensor, "*batch point 3"]:
    """matrix @ point, with the same rounding on every device (a matrix product's depends on its library)."""
    x, y, z = matrix[..., None, :, :].unbind(dim=-1)
    return x * points[..., :1] + y * points[..., 1:2] + z * points[..., 2:]


def _search_numba(homogeneous, depths, faces, camera, near, dtype):
    num_images = len(homogeneous)
    face = torch.empty(num_images, camera.height, camera.width, dtype=torch.long)
    barycentrics = torch.empty(*face.shape, 3, dtype=dtype)
    depth = torch.empty(face.shape, dtype=dtype)
    arrays = [tensor.contiguous().numpy() for tensor in (homogeneous, depths, faces)]
    results = [tensor.numpy() for tensor in (face, barycentrics, depth)]
    # A single large image is shared out by bands of rows, each of which goes through all faces.
    num_pixels = camera.height * camera.width
    bands = 4 if num_images < 4 and num_pixels > 20_000 else 1

    def fill(start: int, stop: int) -> None:
        zbuffer.z_buffer(start, stop, bands, *arrays, float(near), *results)

    for_ranges(
        fill, num_images * bands, grain=1 if bands > 1 else -(-10_000 // (camera.height * camera.width))
    )
    return face, barycentrics, depth


def _search_torch(homogeneous, depths, faces, camera, near, dtype):
    """Lists the pixels inside the box of every face, keeps those inside the face, and scatters the
    nearest."""
    height, width, device = camera.height, camera.width, homogeneous.device
    corners = homogeneous[:, faces].flatten(0, 1)
    corner_depths = depths[:, faces].flatten(0, 1)
    a, b, c = corners.unbind(dim=1)

    in_front = (corners[..., 2] > 0).all(dim=1, keepdim=True)
    pixels = corners[..., :2] / corners[..., 2:].where(in_front[..., None], 1)
    size = torch.tensor([width, height], device=device)
    # A face that reaches behind the camera may be anywhere in the image.
    first = pixels.amin(dim=1).clamp(min=0).minimum(size.double()).ceil().where(in_front, 0).long()
    last = pixels.amax(dim=1).clamp(min=-1).minimum(size - 1.0).floor().where(in_front, size - 1.0).long()
    extent = (last - first + 1).clamp(min=0)
    count = extent.prod(dim=1).where((corner_depths > near).any(dim=1), 0)

    which = torch.repeat_interleave(count)
    step = torch.arange(len(which), device=device) - (count.cumsum(0) - count)[which]
    u = first[which, 0] + step % extent[which, 0]
    v = first[which, 1] + step // extent[which, 0]
    sides = dense.edge_vectors(a, b, c)
    sides = [side[which, 0] * u + (side[which, 1] * v + side[which, 2]) for side in sides]
    total = sides[0] + sides[1] + sides[2]
    z = corner_depths[which]
    depth = (sides[0] * z[:, 0] + sides[1] * z[:, 1] + sides[2] * z[:, 2]) / total.where(total != 0, 1)
    sides = torch.stack(sides, dim=1)
    seen = (sides >= 0).all(dim=1) & (total > 0) & (depth > near)
    # Positive floats are ordered like their bits: one minimum finds the nearest and, of equals, the lowest
    # face.
    key = (depth[seen].float().view(torch.int32).long() << 32) | (which[seen] % len(faces))
    target = (which[seen] // len(faces) * height + v[seen]) * width + u[seen]
    empty = torch.iinfo(torch.long).max
    buffer = torch.full((len(homogeneous) * height * width,), empty, device=device)
    buffer.scatter_reduce_(0, target, key, "amin")
    face = torch.where(buffer == empty, -1, buffer & 0xFFFFFFFF).view(-1, height, width)
    return (face,)


def _measure(homogeneous, depths, faces, face, dtype):
    """Barycentrics and depth of the given face at each pixel, with their gradients."""
    foreground = face >= 0
    image, v, u = foreground.nonzero(as_tuple=True)
    corner = faces[face[foreground]]
    sides = dense.edge_vectors(*homogeneous[image[:, None], corner].unbind(dim=1))
    sides = [side[:, 0] * u + (side[:, 1] * v + side[:, 2]) for side in sides]
    share = 1 / (sides[0] + sides[1] + sides[2])
    weights = torch.stack([share * side for side in sides], dim=1)
    z = depths[image[:, None], corner]
    z = weights[:, 0] * z[:, 0] + weights[:, 1] * z[:, 1] + weights[:, 2] * z[:, 2]
    barycentrics = torch.zeros(*face.shape, 3, dtype=dtype, device=face.device)
    depth = torch.full(face.shape, torch.inf, dtype=dtype, device=face.device)
    return barycentrics.index_put((image, v, u), weights.to(dtype)), depth.index_put(
        (image, v, u), z.to(dtype)
    )


def _search_pytorch3d(homogeneous, depths, faces, camera, near, dtype):
    """Face indices by PyTorch3D, whose image coordinates run left and up from the image's centre, in units of
    half the shorter side."""
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise ImportError(
            'backend="pytorch3d" needs PyTorch3D, which is not installed (environment.yml has it for conda); '
            "leave `backend` out for the library's own rasteriser"
        ) from error
    if near > 0 or (camera.projection == "perspective" and bool((homogeneous[..., 2] <= 0).any())):
        raise GeometryError('backend="pytorch3d" does not cut faces at the near plane; leave `backend` out')
    size = torch.tensor([camera.width, camera.height], device=homogeneous.device)
    pixels = homogeneous[..., :2] / homogeneous[..., 2:]
    ndc = (size / 2 - (pixels + 0.5)) * 2 / size.min()
    vertices = torch.cat([ndc, depths[..., None]], dim=-1).float()
    found, *_ = rasterize_meshes(
        Meshes(vertices, faces.expand(len(vertices), -1, -1)),
        image_size=(camera.height, camera.width),
        perspective_correct=camera.projection == "perspective",
    )
    face = found[..., 0]
    # Faces are numbered through the whole batch there.
    return (torch.where(face >= 0, face % len(faces), -1),)


def vertex_visibility(
    mesh: Mesh,
    camera: Camera,
    definition: Literal["exact", "pixel"] = "exact",
    near: float = 0.0,
    backend: Literal["numba", "torch"] | None = None,
) -> Bool[Tensor, "*batch vertex"]:
    """Which vertices the camera sees.

    "exact"   the vertex is inside the image and beyond the near plane, and no face of which it is not itself
              a corner cuts the segment from the camera to it
    "pixel"   the vertex is a corner of a face that is seen by a pixel: the definition in most released code.
              It depends on the resolution, misses vertices of faces that fall between pixels, and counts
              hidden corners of partly hidden faces.

    Raises:
        GeometryError: as `rasterize`.
    """
    if definition == "pixel":
        face = rasterize(Mesh(mesh.vertices.detach(), mesh.faces), camera, near, backend).face
        num_vertices = mesh.vertices.shape[-2]
        corners = mesh.faces.long()[face].flatten(start_dim=-3)
        # Pixels without a face (index -1) must not count for the last face: they go to a place of their own.
        corners = corners.where((face >= 0).flatten(start_dim=-2).repeat_interleave(3, dim=-1), num_vertices)
        seen = torch.zeros(*face.shape[:-2], num_vertices + 1, dtype=torch.bool, device=face.device)
        return seen.scatter(-1, corners, True)[..., :-1]
    if definition != "exact":
        raise GeometryError(f'vertices are visible by the definition "exact" or "pixel", not {definition!r}')
    check_mesh(mesh)
    _check_camera(camera, mesh, near)
    owners = torch.arange(mesh.vertices.shape[-2], device=mesh.vertices.device)
    return _unoccluded(mesh.vertices, owners, mesh, camera, near, slack=0.0, backend=backend)


def point_visibility(
    points: Float[Tensor, "*points_batch point 3"],
    mesh: Mesh,
    camera: Camera,
    near: float = 0.0,
    slack: float = 1e-6,
    backend: Literal["numba", "torch"] | None = None,
) -> Bool[Tensor, "*batch point"]:
    """Which points, on or off the surface, the camera sees: inside the image, beyond the near plane, and no
    face cuts the segment from the camera to the point.

    slack   a face must be nearer than the point by this fraction of its depth to hide it, so that a point on
            the surface is not hidden by the face it lies on

    Raises:
        GeometryError: as `rasterize`, and for points that do not fit the mesh.
    """
    check_mesh(mesh)
    check_points(points, mesh)
    _check_camera(camera, mesh, near)
    owners = torch.full((points.shape[-2],), -1, device=points.device)
    return _unoccluded(points, owners, mesh, camera, near, slack, backend)


def inherited_visibility(
    points: Float[Tensor, "*points_batch point 3"],
    mesh: Mesh,
    vertex_visible: Bool[Tensor, "*batch vertex"],
    threshold: float = 0.1,
) -> Bool[Tensor, "*batch point"]:
    """Visibility of points near the surface as VA-NeRF defines it: that of the closest point of the surface.

    The vertices' visibilities (of any definition) are interpolated there with its barycentrics, which are
    those of a point of the face, and the sum is held against `threshold`. A point in front of a hidden part
    of the surface thus counts as hidden even where nothing stands before the point itself; `point_visibility`
    answers that other question.
    """
    surface = unsigned_distance(points.detach(), Mesh(mesh.vertices.detach(), mesh.faces))
    visible = vertex_visible.to(points.dtype)[..., None]
    corners = corners_of(visible, mesh.faces, surface.face)[..., 0]
    return (surface.barycentrics * corners).sum(dim=-1) >= threshold


def _unoccluded(points, owners, mesh, camera, near, slack, backend):
    """In the image, and not behind a face (other than those of the vertex that the point is)."""
    batch = torch.broadcast_shapes(points.shape[:-2], mesh.vertices.shape[:-2])
    rays, ray_depths, batch = _to_image(points.detach().expand(*batch, *points.shape[-2:]), camera)
    vertices = mesh.vertices.detach()
    homogeneous, depths, _ = _to_image(vertices.expand(*batch, *vertices.shape[-2:]), camera)
    in_front = (ray_depths > near) & (rays[..., 2] > 0)
    pixels = rays[..., :2] / rays[..., 2:].where(in_front[..., None], 1)
    size = torch.tensor([camera.width, camera.height], device=points.device)
    in_image = in_front & (pixels >= -0.5).all(dim=-1) & (pixels < size - 0.5).all(dim=-1)
    default = "numba" if points.device.type == "cpu" else "torch"
    versions = {"numba": _occluded_numba, "torch": dense.occluded}
    occluded = chosen_version(backend, default, versions, points.device)
    hidden = occluded(rays, ray_depths, owners, homogeneous, depths, mesh.faces.long(), float(near), slack)
    return (in_image & ~hidden).reshape(*batch, points.shape[-2])


def _occluded_numba(rays, ray_depths, owners, homogeneous, depths, faces, near, slack):
    hidden = torch.empty(ray_depths.shape, dtype=torch.bool)
    tensors = (rays, ray_depths, owners, homogeneous, depths, faces)
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    blocks = max(1, rays.shape[1] // 4096)

    def search(start: int, stop: int) -> None:
        zbuffer.occluded(start, stop, blocks, *arrays, near, slack, hidden.numpy())

    for_ranges(search, len(rays) * blocks, grain=-(-2000 // max(1, rays.shape[1] // blocks)))
    return hidden
