"""The world of grasps as this method asks for it: its thirty objects as templates, its pictures as examples.

Units    metres
Frame    each object's own
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.inside import bounding_box
from hands_lib.geometry.limited_distance import PaddedMeshes, padded_meshes
from hands_lib.methods.hand_object.examples import Examples, Templates, control_points
from hands_lib.worlds.grasp_pictures import GraspPictures
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


@cache
def known_templates() -> Templates:
    """Everything that a network is told about the objects."""
    meshes = known_meshes()
    return Templates(meshes.vertices, meshes.faces, control_points(*known_boxes()), known_symmetries())


def examples_of(pictures: GraspPictures) -> Examples:
    """Pictures of the world of grasps as the network and its losses ask for them."""
    values = {name: getattr(pictures, name) for name in Examples.__dataclass_fields__}
    return Examples(**values | {"image": pictures.image.float() / 255})


def unseen_numbers() -> tuple[int, ...]:
    """Of the shapes that are in the test alone."""
    return tuple(map(object_names().index, UNSEEN))
