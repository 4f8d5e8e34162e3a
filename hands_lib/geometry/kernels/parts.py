"""Connected parts of a mesh and what each of them encloses (Numba)."""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.vectors import cross, dot, row, subtract


@compiled()
def _root(parent, vertex):
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]  # halves the way for the next one
        vertex = parent[vertex]
    return vertex


@compiled()
def label_parts(faces, num_vertices, label):
    """Writes the part of every face, from 0 in the order of their first faces; returns how many there are.
    Faces are connected where they share a vertex."""
    parent = np.arange(num_vertices)
    for face in range(len(faces)):
        first = _root(parent, faces[face, 0])
        for corner in range(1, 3):
            parent[_root(parent, faces[face, corner])] = first
    number = np.full(num_vertices, -1)
    count = 0
    for face in range(len(faces)):
        root = _root(parent, faces[face, 0])
        if number[root] < 0:
            number[root] = count
            count += 1
        label[face] = number[root]
    return count


@compiled()
def part_volumes(vertices, faces, label, volume, area, reach):
    """Of every mesh (B, V, 3) and part: signed volume, area, and the greatest distance of a corner from the
    part's first one, in each of three directions. All of (B, parts), zero before."""
    first = np.full(volume.shape[1], -1)
    for face in range(len(faces) - 1, -1, -1):
        first[label[face]] = faces[face, 0]
    for mesh in range(len(vertices)):
        for face in range(len(faces)):
            part = label[face]
            origin = row(vertices[mesh], first[part])
            a = subtract(row(vertices[mesh], faces[face, 0]), origin)
            b = subtract(row(vertices[mesh], faces[face, 1]), origin)
            c = subtract(row(vertices[mesh], faces[face, 2]), origin)
            normal = cross(subtract(b, a), subtract(c, a))
            volume[mesh, part] += dot(a, cross(b, c)) / 6.0
            area[mesh, part] += np.sqrt(dot(normal, normal)) / 2.0
            for corner in (a, b, c):
                far = max(abs(corner[0]), max(abs(corner[1]), abs(corner[2])))
                reach[mesh, part] = max(reach[mesh, part], far)
