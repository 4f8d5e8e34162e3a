"""Draws hands.png, the picture of the README and the book's first page: `python book/_static/make_hands.py`.

Four interactions of the generated world, photographed; below each, what the book does with it: joints, the
surfaces fitted to these joints, visible vertices, and the surface's triangles.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from hands_lib import figures
from hands_lib.geometry.cameras import cropped
from hands_lib.geometry.raster import vertex_visibility
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics, mirror
from hands_lib.hand.pairs import pair_joints
from hands_lib.hand.surface import hand_surface, mirror_mesh
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.views import make_moment, photograph

SIZE = 400
SHOWN = (("interlocked", 2, 5), ("clasp", 4, 3), ("pointing", 1, 1), ("praying", 5, 2))


def draw_joints(axes, joints, camera: Camera) -> None:
    for hand in camera.project(joints.flatten(0, 1)).reshape(2, 21, 2):
        for digit, colour in enumerate(figures.DIGIT_COLOURS):
            chain = [0, *range(1 + 4 * digit, 5 + 4 * digit)]
            axes.plot(*hand[chain].T, color=colour, marker="o", ms=4, lw=2, mec="white", mew=0.5)


def fitted(joints) -> list[tuple[Mesh, str]]:
    """Surfaces around the hands that inverse kinematics finds for the joints alone."""
    right = inverse_kinematics(joints[0].double()).pose
    left = inverse_kinematics(mirror(joints[1]).double()).pose
    meshes = [
        hand_surface(forward_kinematics(pose), detail="refined").to(torch.float32) for pose in (right, left)
    ]
    return [(meshes[0], figures.RIGHT), (mirror_mesh(meshes[1]), figures.LEFT)]


def main() -> None:
    people = sample_identities(6, 0)
    _, axes = plt.subplots(2, 4, figsize=(12, 6), gridspec_kw={"wspace": 0.01, "hspace": 0.01})
    for column, (name, person, view) in enumerate(SHOWN):
        generator = torch.Generator().manual_seed(7 + column)
        pairs, _ = sample_pairs(1, people[[person]], generator, (name,))
        moment = make_moment(pairs.pose[0], people[person])
        ring = cropped(camera_ring(8, SIZE), moment.vertices.flatten(0, 1), SIZE, 1.15)
        camera = Camera(ring.intrinsics[view], ring.camera_from_world[view], SIZE, SIZE)
        light = random_lighting(torch.Generator().manual_seed(3))
        picture = photograph(moment, people[person], ring, light, "plain", seed=0).image[view]
        joints = pair_joints(pairs.pose[0])
        for row in axes[:, column]:
            row.imshow(picture)
            row.set(xlim=(0, SIZE), ylim=(SIZE, 0))
            row.set_axis_off()
        below = axes[1, column]
        meshes = fitted(joints)
        if column == 0:
            draw_joints(below, joints, camera)
        elif column in (1, 3):
            below.imshow(figures.shaded_overlay(meshes, camera, opacity=0.85))
        if column == 2:
            both = Mesh(
                torch.cat([mesh.vertices for mesh, _ in meshes]),
                torch.cat([meshes[0][0].faces, meshes[1][0].faces + len(meshes[0][0].vertices)]),
            )
            pixels, seen = camera.project(both.vertices), vertex_visibility(both, camera)
            edges = both.faces[seen[both.faces].all(dim=1)]
            below.triplot(*pixels.T, edges, color="white", lw=0.5)
            below.plot(*pixels[seen].T, ".", color="#009E73", ms=4)
    plt.savefig(Path(__file__).with_name("hands.png"), dpi=100, bbox_inches="tight", pad_inches=0)


if __name__ == "__main__":
    main()
