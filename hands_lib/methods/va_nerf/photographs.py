"""Photographs of two hands as the method's input: a square about the fitted hands, everything else black.

Units   metres, pixels; colours in [0, 1]
Frames  world; cameras as OpenCV's; right hand first
"""

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from hands_lib.geometry.cameras import cropped
from hands_lib.geometry.raster import rasterize
from hands_lib.geometry.rotations import rotation_about_y
from hands_lib.hand.inverse_kinematics import Fit, inverse_kinematics
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.pairs import pair_faces, pair_joints, pair_surfaces
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.structures import Camera, Mesh

_FINER = 8  # rays for a side of a pixel


def cut_out(
    picture: UInt8[Tensor, "height width 3"], camera: Camera, square: Camera
) -> Float[Tensor, "{square.height} {square.width} 3"]:
    """The part of a picture that a cropped camera sees, averaged to its pixels.

    camera  that took the picture; square  one scene of `geometry.cameras.cropped` of it
    """
    size, scale = square.width, (square.intrinsics[0, 0, 0] / camera.intrinsics[0, 0]).item()
    centre, moved = camera.intrinsics[:2, 2], square.intrinsics[0, :2, 2]
    x, y = (centre + 0.5 - (moved + 0.5) / scale).tolist()
    fine, extent = _FINER * size, (x, y, x + size / scale, y + size / scale)
    found = Image.fromarray(picture.numpy()).transform(
        (fine, fine), Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR
    )
    pixels = torch.frombuffer(bytearray(found.reduce(_FINER).tobytes()), dtype=torch.uint8)
    return pixels.view(size, size, 3) / 255


def fitted_input(
    joints: Float[Tensor, "2 21 3"],
    camera: Camera,
    picture: UInt8[Tensor, "height width 3"],
    size: int,
    margin: float,
) -> tuple[InputView, Float[Tensor, "size size 3"], Fit]:
    """The network's input from a photograph with annotated joints, the photograph's own part, and the fit of
    the hand to the joints. The silhouette is cut at the photograph's resolution.

    margin  side of the square against that of the box around both fitted hands
    """
    joints = joints.double()
    fit = inverse_kinematics(torch.stack([joints[0], mirror(joints[1])]))
    surfaces, faces = pair_surfaces(fit.pose).float(), pair_faces()
    hands = [Mesh(surfaces[side], faces[side]) for side in (0, 1)]
    silhouette = torch.stack([rasterize(hand, camera).foreground for hand in hands])
    one = Camera(
        camera.intrinsics[None].float(), camera.camera_from_world[None].float(), camera.width, camera.height
    )
    square = cropped(one, surfaces.flatten(0, 1), size, margin)
    masked = picture * silhouette.any(dim=0)[..., None]
    own_joints = pair_joints(fit.pose).float()[None]
    given = InputView(cut_out(masked, camera, square)[None], square, surfaces[None], own_joints, faces)
    return given, cut_out(picture, camera, square), fit


def turned(given: InputView, degrees: float, margin: float) -> Camera:
    """The camera of one scene after a turn about the hands, around its picture's vertical."""
    rotation = rotation_about_y(torch.deg2rad(torch.tensor(float(degrees))))
    points = given.vertices[0].flatten(0, 1)
    middle = given.camera.transform(points[None])[0].mean(dim=0)
    turn = torch.eye(4)
    turn[:3, :3], turn[:3, 3] = rotation, middle - rotation @ middle
    size = given.camera.width
    camera = Camera(given.camera.intrinsics, (turn @ given.camera.camera_from_world[0])[None], size, size)
    return cropped(camera, points, size, margin)
