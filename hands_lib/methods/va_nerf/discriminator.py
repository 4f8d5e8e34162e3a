"""Visibility-guided adversarial learning (VGAL): the discriminator, and the maps that it is taught.

Units  pixels; colours in [0, 1]

The paper says "a CNN with the sigmoid function as its last activation"; layers and channels are those of the
released code. Scores and maps leave as logits: the losses apply the sigmoid.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from hands_lib.geometry.raster import rasterize
from hands_lib.structures import Camera, Mesh


class Discriminator(nn.Module):
    """Phi(I, I_t): whether a target picture is real, and which of its pixels the input picture shows.

    kind  "visibility": a score and a map (the paper's); "binary": the score alone (Table 6)
    """

    def __init__(self, kind: str = "visibility"):
        super().__init__()
        if kind not in ("visibility", "binary"):
            raise ValueError(f'a discriminator is of the kind "visibility" or "binary", not {kind!r}')
        self.kind = kind
        self.score = nn.Sequential(
            nn.Conv2d(12, 10, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(10, 10, 3, padding=1), nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(10, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1),
        )  # fmt: skip
        if kind == "visibility":
            self.features = nn.Sequential(
                nn.Conv2d(12, 20, 3, padding=1), nn.LeakyReLU(0.2),
                nn.Conv2d(20, 20, 3, padding=1), nn.LeakyReLU(0.2),
                nn.Conv2d(20, 12, 3, padding=1), nn.LeakyReLU(0.2),
            )  # fmt: skip
            self.map = nn.Sequential(
                nn.Conv2d(24, 30, 3, padding=1), nn.LeakyReLU(0.2),
                nn.Conv2d(30, 20, 3, padding=1), nn.LeakyReLU(0.2),
                nn.Conv2d(20, 1, 3, padding=1),
            )  # fmt: skip

    def forward(
        self,
        image: Float[Tensor, "scene height width 3"],
        target: Float[Tensor, "scene height width 3"],
        dense: Float[Tensor, "scene height width 3"],
        target_dense: Float[Tensor, "scene height width 3"],
    ) -> tuple[Float[Tensor, " scene"], Float[Tensor, "scene height width"] | None]:
        """Logits of "real" and of the visibility map (None for the binary kind).

        dense, target_dense  `correspondence_map` of the input and of the target view
        """
        together = torch.cat([image, dense, target_dense, target], dim=-1).movedim(-1, 1)
        score = self.score(together)[:, 0]
        if self.kind == "binary":
            return score, None
        return score, self.map(torch.cat([together, self.features(together)], dim=1))[:, 0]


def correspondence_map(
    mesh: Mesh, camera: Camera, rest_vertices: Float[Tensor, "vertex 3"]
) -> Float[Tensor, "scene height width 3"]:
    """Dense correspondence: each pixel's place on the rest hand, scaled to [0, 1]; 0 in the background.

    mesh           both hands, right first
    rest_vertices  of one right hand; both hands get the same colours
    """
    low, high = rest_vertices.amin(dim=0), rest_vertices.amax(dim=0)
    colours = ((rest_vertices - low) / (high - low)).repeat(2, 1)
    fragments = rasterize(mesh, camera)
    return fragments.interpolate(mesh.faces, colours.expand(*mesh.vertices.shape[:-2], -1, -1))


def seen_from_input(
    mesh: Mesh, target: Camera, vertex_visible: Bool[Tensor, "scene vertices"]
) -> tuple[Bool[Tensor, "scene height width"], Bool[Tensor, "scene height width"]]:
    """Pixels of the target view that show a hand, and those of them whose surface the input camera sees.

    The visibility of the vertices from the input camera is interpolated over the surface, without light, and
    held against one half.
    """
    fragments = rasterize(mesh, target)
    share = fragments.interpolate(mesh.faces, vertex_visible.to(mesh.vertices.dtype)[..., None])[..., 0]
    return fragments.foreground, fragments.foreground & (share >= 0.5)


def cropped_at(
    maps: Shaped[Tensor, "scene height width channel"],
    corner: Int[Tensor, "scene 2"],
    size: int,
) -> Shaped[Tensor, "scene {size} {size} channel"]:
    """Squares of `size` pixels whose upper left pixel (x, y) is `corner`, one of each picture."""
    step = torch.arange(size, device=maps.device)
    rows, columns = corner[:, 1, None] + step, corner[:, 0, None] + step
    scene = torch.arange(len(maps), device=maps.device)[:, None, None]
    return maps[scene, rows[:, :, None], columns[:, None, :]]
