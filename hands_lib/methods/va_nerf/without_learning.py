"""Pictures of the target view by rules of two lines, from what the method itself is given. Nothing is learnt.

Frames  world, metres; pixels; colours in [0, 1]
Source  OURS. Whoever is given the surface of the hands knows their outline in every view; these rules know
        nothing more. A method that is given the surface has to be better than they are, and a method that is
        worse has not learnt where the hands are.

A pixel of a hand that is black is taken for painted over, as in the masks of Table 3: it says nothing.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.observation import InputView, gather_evidence
from hands_lib.nn.sampling import sample_at_pixels
from hands_lib.structures import Camera

Rule = Callable[[InputView, Camera], Float[Tensor, "scene height width 3"]]

FINER = 4  # rays for a side of a pixel


def shown_skin(given: InputView) -> Bool[Tensor, "scene height width"]:
    """Pixels of the input picture that lie on a fitted hand and are not black."""
    hands = rasterize(given.mesh, given.camera).foreground
    return hands & (given.image > 0).any(dim=-1)


def skin_colour(given: InputView) -> Float[Tensor, "scene 3"]:
    """Mean colour of the hands in each input picture; black where it shows none of them."""
    skin = shown_skin(given)[..., None].to(given.image)
    return (given.image * skin).sum(dim=(1, 2)) / skin.sum(dim=(1, 2)).clamp(min=1)


def finer(camera: Camera, times: int) -> Camera:
    """The same view with `times` as many pixels a side; the outer edges of the picture stay in place."""
    intrinsics = camera.intrinsics.clone()
    intrinsics[..., :2, :2] *= times
    intrinsics[..., :2, 2] = times * (intrinsics[..., :2, 2] + 0.5) - 0.5
    return Camera(intrinsics, camera.camera_from_world, times * camera.width, times * camera.height)


def _averaged(
    picture: Float[Tensor, "scene tall wide channel"],
) -> Float[Tensor, "scene height width channel"]:
    """Pixels of a finer camera, averaged to those of the camera itself."""
    return torch.nn.functional.avg_pool2d(picture.movedim(-1, 1), FINER).movedim(1, -1)


def mean_colour(given: InputView, camera: Camera) -> Float[Tensor, "scene height width 3"]:
    """The hands' silhouette in the target view, supersampled, all of it in the mean colour of the input's
    hands."""
    silhouette = rasterize(given.mesh, finer(camera, FINER)).foreground
    return _averaged(silhouette[..., None].to(given.image)) * skin_colour(given)[:, None, None]


def warped(given: InputView, camera: Camera) -> Float[Tensor, "scene height width 3"]:
    """The input picture laid on the surface and looked at from the target view; what the input camera does
    not see has the mean colour of the input's hands."""
    mesh = given.mesh
    shown = rasterize(mesh, finer(camera, FINER))
    sees = gather_evidence(given).vertex_visible[..., None].to(given.image)
    seen = shown.foreground & (shown.interpolate(mesh.faces, sees)[..., 0] >= 0.5)
    places = given.camera.project(shown.interpolate(mesh.faces, mesh.vertices).flatten(1, 2))
    scene = torch.arange(len(places), device=places.device)[:, None].expand(places.shape[:2])
    # Skin alone is read: no background is mixed in at the contours, and no paint.
    skin = shown_skin(given)[..., None].to(given.image)
    maps = torch.cat([given.image * skin, skin], dim=-1).movedim(-1, 1)
    found = sample_at_pixels(maps, scene.flatten(), places.flatten(0, 1), given.image.shape[1:3])
    colour, share = found.view(*seen.shape, 4).split([3, 1], dim=-1)
    read = seen[..., None] & (share > 0.5)
    colours = torch.where(read, colour / share.clamp(min=0.5), skin_colour(given)[:, None, None])
    return _averaged(colours * shown.foreground[..., None])


RULES: dict[str, Rule] = {
    "mean colour in the silhouette": mean_colour,
    "input laid on the surface": warped,
}
"""By the names of their rows in the tables."""
