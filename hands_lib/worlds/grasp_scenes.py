"""A grasp as cameras see it, with every label; and how it comes about, thirty times a second.

Chapter  book/hand_object/grasps.md
Units    metres, pixels, seconds
Frames   world: y up; cameras as OpenCV's

As in `views`, what a label is made of is kept, not the label: depth, masks and hidden shares follow from the
meshes and the cameras, signed distances of any points from the meshes alone. Nothing of it needs a disc.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.raster import rasterize, vertex_visibility
from hands_lib.geometry.rotations import axis_angle_to_matrix, rotation_about_x, rotation_about_y
from hands_lib.hand.kinematics import forward_kinematics
from hands_lib.hand.surface import surface_topology
from hands_lib.structures import Camera, HandPose, Mesh, TensorFields
from hands_lib.worlds.grasps import (
    CONTACT,
    DEEPEST,
    GraspContact,
    Grasps,
    grasp_contact,
    hand_in_frame,
    right_hands,
)
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.objects import ObjectShape
from hands_lib.worlds.renderer import Lighting, Scene, build_scene, render, surroundings
from hands_lib.worlds.texture import hand_textures

FRAMES_PER_SECOND = 30
_REACH, _LIFT = 0.15, 0.18  # metres that the hand comes from, and that the object is lifted
_LEVELS = 65  # of how far fingers are closed, in a motion
_ARM_ROOM, _ARM_LENGTH = 0.040, 0.3  # metres


@dataclass(frozen=True)
class GraspMoment(TensorFields):
    """One hand and one object at one moment, before any picture."""

    pose: HandPose
    world_from_object: Float[Tensor, "4 4"]
    hand: Float[Tensor, "vertex 3"]
    """Refined surface, world; its faces are those of `surface_topology("refined")`."""
    object: Float[Tensor, "object_vertex 3"]
    """The object's vertices, world; its faces are the shape's."""
    joints: Float[Tensor, "21 3"]
    contact: GraspContact
    """Of a batch of one."""

    def touching(self, within: float = CONTACT) -> Bool[Tensor, " vertex"]:
        """Which vertices of the hand are nearer to the object than `within` metres."""
        return self.contact.hand[0] < within

    def signed_distances(
        self, points: Float[Tensor, "point 3"], shape: ObjectShape
    ) -> Float[Tensor, "2 point"]:
        """Of any points in the world to the hand and to the object, metres, negative inside."""
        faces = (surface_topology("refined").faces, shape.mesh.faces)
        return torch.stack(
            [
                signed_distance(points, Mesh(own, its)).distance
                for own, its in zip((self.hand, self.object), faces, strict=True)
            ]
        )


@dataclass(frozen=True)
class GraspViews(TensorFields):
    """What cameras see; the first dimension is the camera."""

    camera: Camera
    image: UInt8[Tensor, "view height width 3"]
    face: Int[Tensor, "view height width"]
    """Face at the pixel's centre: of the hand, then of the object, then of the arm; -1 for none."""
    kind: UInt8[Tensor, "view height width"]
    """0 for none, 1 for the hand, 2 for the object, 3 for the arm."""
    hand_visible: Bool[Tensor, "view vertex"]
    object_visible: Bool[Tensor, "view object_vertex"]


@dataclass(frozen=True)
class GraspLabels(TensorFields):
    """What follows from the meshes. The arm is part of no label but what it hides in `GraspViews.kind`."""

    depth: Float[Tensor, "view height width"]
    """z in the camera frame of the nearer of hand and object, metres; infinite where there is neither."""
    hand_alone: Bool[Tensor, "view height width"]
    """Where the hand would be seen if it were alone;"""
    object_alone: Bool[Tensor, "view height width"]
    """and the object."""
    hand_hidden: Float[Tensor, " view"]
    """Share of the hand's pixels that the object hides;"""
    object_hidden: Float[Tensor, " view"]
    """and of the object's that the hand hides."""


def make_moments(grasps: Grasps, shape: ObjectShape, people: Identities) -> list[GraspMoment]:
    """Moments of several grasps, or frames of one motion, of one object; `people` a row for each."""
    hand = hand_in_frame(grasps.pose, right_hands(people.shape))
    joints = forward_kinematics(grasps.pose).joints
    rotation, translation = grasps.world_from_object[:, :3, :3], grasps.world_from_object[:, :3, 3]
    contact = grasp_contact(hand, shape, rotation, translation)
    moved = shape.mesh.vertices @ rotation.mT + translation[:, None]
    return [
        GraspMoment(
            grasps.pose[n],
            grasps.world_from_object[n],
            hand[n],
            moved[n],
            joints[n],
            GraspContact(contact.hand[n : n + 1], contact.object[n : n + 1]),
        )
        for n in range(len(hand))
    ]


def forearm_direction(moment: GraspMoment) -> Float[Tensor, "3"] | None:
    """Where the forearm goes from the wrist, unit, world: of the bends of a wrist that keep clear of the
    object the straightest; None where none does."""
    bends = torch.deg2rad(
        torch.tensor([(0.0, 0.0), *((x, z) for x in (-40.0, -20, 0, 20, 40) for z in (-20.0, 0, 20))])
    )
    steps = torch.linspace(0.1, 1, 10)[:, None] * _ARM_LENGTH
    turn = axis_angle_to_matrix(torch.stack([bends[:, 0], torch.zeros(len(bends)), bends[:, 1]], dim=-1))
    ways = -(moment.pose.root_rotation @ turn)[..., 1]
    points = moment.joints[0] + steps * ways[:, None]
    room = torch.cdist(points, moment.object.expand(len(points), -1, -1)).flatten(1).amin(dim=1)
    cost = bends.norm(dim=1) + torch.where(room > _ARM_ROOM, 0.0, 100.0)
    best = int(cost.argmin())
    return ways[best] if room[best] > _ARM_ROOM else None


def photograph_grasp(
    moment: GraspMoment,
    shape: ObjectShape,
    person: Identities,
    camera: Camera,
    lighting: Lighting,
    background: str = "plain",
    arm: bool = True,
    seed: int = 0,
) -> GraspViews:
    """Pictures of a moment from all cameras (one batch dimension). Parameters as `views.photograph`."""
    faces = surface_topology("refined").faces
    direction = forearm_direction(moment) if arm else None
    textures = hand_textures(person.skin, int(person.texture_seed))[:1]
    body = build_scene(
        moment.hand[None], [faces], textures, [None if direction is None else (direction, False)],
        person.skin, person.cloth, float(person.sleeve),
    )  # fmt: skip
    # The object between hand and arm, so that its faces have the same numbers with and without an arm.
    hand, held = len(moment.hand), len(moment.object)
    its = shape.mesh.faces
    normals = vertex_normals(Mesh(moment.object, its))
    arm_faces = body.faces[len(faces) :]
    scene = Scene(
        torch.cat([moment.hand, moment.object, body.vertices[hand:]]),
        torch.cat([body.normals[:hand], normals, body.normals[hand:]]),
        torch.cat([faces, its + hand, torch.where(arm_faces >= hand, arm_faces + held, arm_faces)]),
        torch.cat([body.texels[: len(faces)], shape.texels, body.texels[len(faces) :]]),
    )
    environment = surroundings(background, torch.Generator().manual_seed(seed), lighting)
    image, face = render(scene, camera, lighting, environment, seed=seed)
    seen = vertex_visibility(Mesh(scene.vertices, scene.faces), camera)
    kind = (face >= 0).to(torch.uint8)
    kind = kind + (face >= len(faces)).to(torch.uint8) + (face >= len(faces) + len(its)).to(torch.uint8)
    return GraspViews(camera, image, face, kind, seen[:, :hand], seen[:, hand : hand + held])


def grasp_labels(moment: GraspMoment, shape: ObjectShape, camera: Camera) -> GraspLabels:
    """Depth, whole masks and hidden shares of all views."""
    hand = rasterize(Mesh(moment.hand, surface_topology("refined").faces), camera)
    held = rasterize(Mesh(moment.object, shape.mesh.faces), camera)
    behind, in_front = hand.depth > held.depth, hand.depth < held.depth

    def share(hidden: Tensor, whole: Tensor) -> Tensor:
        return (hidden & whole).flatten(1).sum(dim=1) / whole.flatten(1).sum(dim=1).clamp(min=1)

    return GraspLabels(
        torch.minimum(hand.depth, held.depth),
        hand.foreground,
        held.foreground,
        share(behind, hand.foreground),
        share(in_front, held.foreground),
    )


def joints_in_view(moment: GraspMoment, camera: Camera) -> tuple[Tensor, Tensor]:
    """Joints of the hand in the frame of each camera (view, 21, 3), metres, and in its image (view, 21, 2),
    pixels; also those that are hidden."""
    joints = moment.joints.expand(len(camera.intrinsics), -1, -1)
    return camera.transform(joints), camera.project(joints)


def sample_motion(
    grasp: Grasps,
    shape: ObjectShape,
    person: Identities,
    generator: torch.Generator,
    seconds: float = 3.0,
) -> Grasps:
    """Frames of one motion that ends in a grasp (of a batch of one): reach, close, lift, turn.

    The hand comes open along the way that was free when the grasp was found; the object stands still until
    the fingers are closed, and moves with the hand from then on. Fingers that curl on the way may be held up:
    a frame in which they would be deeper than `DEEPEST` keeps the most closed angles that are not.

    Raises ValueError for fewer than four frames or a batch of several grasps.
    """
    num = round(seconds * FRAMES_PER_SECOND)
    if num < 4 or len(grasp.shape) != 1:
        raise ValueError(f"a motion of one grasp has at least four frames, not {num} of {len(grasp.shape)}")
    time = torch.linspace(0, 1, num)
    near, shut = _smooth((time / 0.35).clamp(0, 1)), _smooth(((time - 0.35) / 0.12).clamp(0, 1))
    up, around = _smooth(((time - 0.47) / 0.28).clamp(0, 1)), _smooth(((time - 0.6) / 0.4).clamp(0, 1))
    frames = Grasps(
        HandPose(*(value.expand(num, *value.shape[1:]).clone() for value in vars(grasp.pose).values())),
        *(
            value.expand(num, *value.shape[1:]).clone()
            for name, value in vars(grasp).items()
            if name != "pose"
        ),
    )
    share = _free_shares(grasp, shape, person, shut)
    angles = torch.lerp(frames.opened, grasp.pose.joint_angles, share[:, None, None, None])
    away = (1 - near)[:, None] * _REACH * grasp.approach
    pose = replace(frames.pose, joint_angles=angles, root_translation=frames.pose.root_translation + away)
    # Lifted, then turned about a drawn direction, both as one.
    yaw, pitch = (torch.rand(2, generator=generator) - 0.5) * torch.tensor([3.0, 0.9])
    turn = rotation_about_y(yaw * around) @ rotation_about_x(pitch * around)
    lift = up[:, None] * torch.tensor([0.0, _LIFT, 0.0])
    world = torch.eye(4).repeat(num, 1, 1)
    world[:, :3, :3], world[:, :3, 3] = turn, lift
    return replace(
        frames,
        pose=replace(
            pose,
            root_rotation=turn @ pose.root_rotation,
            root_translation=(turn @ pose.root_translation[..., None])[..., 0] + lift,
        ),
        world_from_object=world @ frames.world_from_object,
        approach=(turn @ frames.approach[..., None])[..., 0],
    )


def _free_shares(
    grasp: Grasps, shape: ObjectShape, person: Identities, wanted: Float[Tensor, " frame"]
) -> Float[Tensor, " frame"]:
    """How far the fingers of each frame are closed: as far as wanted where that is free. Where it is not,
    they wait before it, and pass at once."""
    levels = torch.linspace(0, 1, _LEVELS)
    one = grasp[torch.zeros(_LEVELS, dtype=torch.long)]
    closed = torch.lerp(one.opened, one.pose.joint_angles, levels[:, None, None, None])
    hand = hand_in_frame(
        replace(one.pose, joint_angles=closed), right_hands(_repeated(person, _LEVELS).shape)
    )
    rotation, translation = one.world_from_object[:, :3, :3], one.world_from_object[:, :3, 3]
    free = grasp_contact(hand, shape, rotation, translation).penetration <= DEEPEST
    free[0] = True
    # Frames take the angles of a level that was asked, the last free one that is not beyond what is wanted.
    place = (wanted * (_LEVELS - 1) + 1e-4).long()
    return levels[torch.where(free, torch.arange(_LEVELS), 0).cummax(dim=0).values[place]]


def _repeated(person: Identities, num: int) -> Identities:
    return person[None][torch.zeros(num, dtype=torch.long)]


def _smooth(share: Tensor) -> Tensor:
    """From 0 to 1 without a jerk at either end."""
    return share**3 * (10 - 15 * share + 6 * share**2)
