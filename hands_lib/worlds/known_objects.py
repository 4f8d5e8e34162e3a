"""All thirty objects of the world of grasps at once: what a method may know before it sees a picture.

Units    metres
Frame    each object's own
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.inside import bounding_box
from hands_lib.geometry.limited_distance import PaddedMeshes, padded_meshes
from hands_lib.worlds.objects import UNSEEN, object_names, object_shape


@cache
def known_meshes() -> PaddedMeshes:
    """Row n is the shape `object_names()[n]`."""
    return padded_meshes([object_shape(name).mesh for name in object_names()])


@cache
def known_boxes() -> tuple[Float[Tensor, "object 3"], Float[Tensor, "object 3"]]:
    """Lower and upper corner of every object's box."""
    boxes = [bounding_box(object_shape(name).mesh.vertices) for name in object_names()]
    low, high = (torch.stack(corner) for corner in zip(*boxes, strict=True))
    return low, high


@cache
def known_symmetries(steps: int = 36) -> Float[Tensor, "object rotation 3 3"]:
    """Rotations of every object that nobody can see, a continuous axis in equal steps; lists shorter than the
    longest go on with the identity."""
    lists = [object_shape(name).symmetry.all_rotations(steps) for name in object_names()]
    most = max(map(len, lists))
    return torch.stack([torch.cat([own, torch.eye(3).expand(most - len(own), 3, 3)]) for own in lists])


def unseen_numbers() -> tuple[int, ...]:
    """Of the shapes that are in the test alone."""
    return tuple(map(object_names().index, UNSEEN))
