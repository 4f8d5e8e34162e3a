"""What single query points look at and what comes of it: the numbers behind the first figure of the chapter.

Units  metres, pixels; colours in [0, 1]
"""

import torch
from torch import Tensor

from hands_lib.geometry.raster import point_visibility
from hands_lib.methods.va_nerf.evaluation import ViewPairs
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.observation import chosen, mirrored
from hands_lib.methods.va_nerf.training import Pictures
from hands_lib.nn.sampling import sample_at_pixels


@torch.no_grad()
def query_points(net: VANeRF, pictures: Pictures, pair: ViewPairs, num: int, seed: int) -> dict[str, Tensor]:
    """Points on the surface that some camera of the pair's ring sees, drawn by the seed.

    picture  the input view, bytes
    pixels   (place, point, 2): where the input view shows q, p and p'
    seen     (point, 3): the bits v of the three places
    weights  (point, 6): those of Eq. 3, of phi, q, p, p', g^l and g^r
    fused    (point, 3): the field's colour
    true     (point, 3): the colour in the first view of the ring that sees the point
    """
    net.eval()
    around = torch.arange(int(pictures.view_count[pair.frame]), device=pictures.image.device)
    ring = pair.frame.expand(len(around)), around
    cameras = pictures.camera(*ring)
    given = net.observe(pictures.input_view(pair.frame, pair.view))
    mesh = given.view.mesh
    middles = mesh.vertices[0][mesh.faces].mean(dim=1)
    sees = point_visibility(middles.expand(len(around), -1, -1), mesh, cameras)
    usable = sees.any(dim=0).nonzero()[:, 0]
    mixed = torch.randperm(len(usable), generator=torch.Generator().manual_seed(seed))[:num]
    usable = usable[mixed.to(usable.device)]
    points, first = middles[usable], sees[:, usable].float().argmax(dim=0)
    located = net.locate(given, points[None])
    readings = net.read(given, chosen(located, torch.ones_like(located.visible)))
    partner = mirrored(readings.vertex, mesh.vertices.shape[1])
    places = [points, mesh.vertices[0, readings.vertex], mesh.vertices[0, partner]]
    at = cameras.project(points.expand(len(around), -1, -1))
    at = at[first, torch.arange(len(points), device=at.device)]
    images = pictures.colours(*ring).movedim(-1, 1)
    values = {
        "picture": pictures.image[pair.frame[0], pair.view[0]],
        "pixels": given.view.camera.project(torch.stack(places)),
        "seen": readings.visible,
        "weights": net.fuse_texture(given, readings).weights,
        "fused": net.colour(given, readings, net.density(given, readings)[1]),
        "true": sample_at_pixels(images, first, at, images.shape[2:]),
    }
    return {name: value.cpu() for name, value in values.items()}
