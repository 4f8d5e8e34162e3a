"""Winding numbers by signed ray crossings (Numba).

A ray goes from the point towards +z. Each face it crosses from inside to outside counts +1, from outside to
inside -1; on a closed, oriented mesh the sum is the winding number (the solid angle of van Oosterom and
Strackee, 1983, over 4 pi), at a quarter of its cost and without rounding. Unlike the parity of the crossings,
and unlike the normal at the closest point, it stays right where parts of a mesh overlap: there it is 2, which
is inside.

Watertight. Whether the ray passes left or right of an edge is decided from the edge's end points in one fixed
order, lower vertex index first, so the two faces of an edge always agree. A ray through an edge or a vertex
is decided as if the point were moved by an infinitesimal step towards +x and a smaller one towards +y (the
top-left rule of rasterisers); a point in the plane of a face counts as above it. Space is thus divided
without gap or overlap: of the points exactly on the surface, those from which a step to +z (on vertical
faces: to +x, else +y) leads into the solid are inside.

Precision. Everything is float64, also for float32 coordinates: their differences are then exact, products of
these are right to 1e-16, and a ray that meets a vertex exactly is seen to do so.
"""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.vectors import cross, dot, row, subtract


@compiled()
def prepare_crossings(vertices, faces, boxes, edges):
    """Fills `boxes` (F, 5): x, y from .. to .. and the highest z; `edges` (F, 3, 6): x, y of the end with the
    lower index, the vector to the other end, whether the edge is turned round, whether a tie counts as
    left."""
    for face in range(len(faces)):
        a, b, c = row(vertices, faces[face, 0]), row(vertices, faces[face, 1]), row(vertices, faces[face, 2])
        boxes[face, 0], boxes[face, 1] = min(a[0], min(b[0], c[0])), max(a[0], max(b[0], c[0]))
        boxes[face, 2], boxes[face, 3] = min(a[1], min(b[1], c[1])), max(a[1], max(b[1], c[1]))
        boxes[face, 4] = max(a[2], max(b[2], c[2]))
        for k in range(3):
            low, high = faces[face, k], faces[face, (k + 1) % 3]
            turned = low > high
            if turned:
                low, high = high, low
            p, q = row(vertices, low), row(vertices, high)
            dx, dy = q[0] - p[0], q[1] - p[1]
            edge = edges[face, k]
            edge[0], edge[1], edge[2], edge[3] = p[0], p[1], dx, dy
            edge[4] = turned
            edge[5] = dy < 0.0 or (dy == 0.0 and dx > 0.0)


@compiled()
def _left_of(edge, x, y):
    """Whether (x, y) is left of the edge as its face runs along it."""
    forward, sideways = edge[2] * (y - edge[1]), edge[3] * (x - edge[0])
    return ((forward > sideways) | ((forward == sideways) & (edge[5] > 0.0))) ^ (edge[4] > 0.0)


@compiled()
def count_crossings_of_tile(x, y, z, vertices, faces, boxes, edges, winding):
    """Winding numbers (as floats) of the points x, y, z, which should lie close together."""
    lower_x, upper_x, lower_y, upper_y, lower_z = x[0], x[0], y[0], y[0], z[0]
    for j in range(len(x)):
        lower_x, upper_x = min(lower_x, x[j]), max(upper_x, x[j])
        lower_y, upper_y = min(lower_y, y[j]), max(upper_y, y[j])
        lower_z = min(lower_z, z[j])
        winding[j] = 0.0
    for face in range(len(faces)):
        missed = (boxes[face, 0] > upper_x) | (boxes[face, 1] < lower_x) | (boxes[face, 2] > upper_y)
        if missed | (boxes[face, 3] < lower_y) | (boxes[face, 4] < lower_z):
            continue
        a, b, c = row(vertices, faces[face, 0]), row(vertices, faces[face, 1]), row(vertices, faces[face, 2])
        ab, bc, ca = edges[face, 0], edges[face, 1], edges[face, 2]
        for j in range(len(x)):
            left_ab, left_bc, left_ca = (
                _left_of(ab, x[j], y[j]),
                _left_of(bc, x[j], y[j]),
                _left_of(ca, x[j], y[j]),
            )
            crossing = (left_ab & left_bc & left_ca) - (1.0 - (left_ab | left_bc | left_ca))
            p = x[j], y[j], z[j]
            below = dot(subtract(a, p), cross(subtract(b, p), subtract(c, p)))
            winding[j] += crossing if crossing * below > 0.0 else 0.0


@compiled()
def winding_numbers(start, stop, tile_size, points, order, vertices, faces, result):
    """Winding numbers of the tiles start..stop, counted through all meshes of the batch.

    points (B, P, 3), order (B, P), vertices (B, V, 3), faces (F, 3); writes result (B, P).
    """
    num_points, num_faces = points.shape[1], len(faces)
    tiles = (num_points + tile_size - 1) // tile_size
    boxes, edges = np.empty((num_faces, 5)), np.empty((num_faces, 3, 6))
    x, y, z, winding = np.empty(tile_size), np.empty(tile_size), np.empty(tile_size), np.empty(tile_size)
    ready = -1
    for tile in range(start, stop):
        mesh, first = tile // tiles, tile % tiles * tile_size
        if mesh != ready:
            ready = mesh
            prepare_crossings(vertices[mesh], faces, boxes, edges)
        for j in range(tile_size):
            x[j], y[j], z[j] = row(points[mesh], order[mesh, min(first + j, num_points - 1)])
        count_crossings_of_tile(x, y, z, vertices[mesh], faces, boxes, edges, winding)
        for j in range(min(tile_size, num_points - first)):
            result[mesh, order[mesh, first + j]] = int(winding[j])


@compiled()
def grid_occupancies(start, stop, axes, vertices, faces, result):
    """Whether the points of a regular grid are inside, for each of the meshes start..stop.

    axes (B, 3, N) holds the increasing x, y and z of the grid's planes; writes result (B, N, N, N).
    One ray serves a whole column of the grid, and a face meets only the columns inside its box: a crossing at
    height h is added to all points of the column below h.
    """
    boxes, edges = np.empty((len(faces), 5)), np.empty((len(faces), 3, 6))
    columns = np.empty(result.shape[1:], np.int8)
    for mesh in range(start, stop):
        xs, ys, zs = axes[mesh, 0], axes[mesh, 1], axes[mesh, 2]
        columns[:] = 0
        prepare_crossings(vertices[mesh], faces, boxes, edges)
        for face in range(len(faces)):
            from_x, to_x = _first_at_least(xs, boxes[face, 0]), _first_above(xs, boxes[face, 1])
            from_y, to_y = _first_at_least(ys, boxes[face, 2]), _first_above(ys, boxes[face, 3])
            if from_x >= to_x or from_y >= to_y or boxes[face, 4] < zs[0]:
                continue
            a = row(vertices[mesh], faces[face, 0])
            b = row(vertices[mesh], faces[face, 1])
            c = row(vertices[mesh], faces[face, 2])
            normal = cross(subtract(b, a), subtract(c, a))
            for i in range(from_x, to_x):
                x = np.float64(xs[i])
                for j in range(from_y, to_y):
                    y = np.float64(ys[j])
                    left_ab = _left_of(edges[face, 0], x, y)
                    left_bc = _left_of(edges[face, 1], x, y)
                    left_ca = _left_of(edges[face, 2], x, y)
                    if left_ab != left_bc or left_bc != left_ca or normal[2] == 0.0:
                        continue
                    crossing = 1 if left_ab else -1
                    height = a[2] - ((x - a[0]) * normal[0] + (y - a[1]) * normal[1]) / normal[2]
                    column = columns[i, j]
                    for k in range(_first_at_least(zs, height)):
                        column[k] += crossing
        result[mesh] = columns > 0


@compiled()
def _first_at_least(values, bound):
    """Index of the first of the increasing, evenly spaced `values` that is >= bound."""
    return _search(values, bound, False)


@compiled()
def _first_above(values, bound):
    """Index of the first of the increasing, evenly spaced `values` that is > bound."""
    return _search(values, bound, True)


@compiled()
def _search(values, bound, above):
    count = len(values)
    span = values[count - 1] - values[0]
    guess = 0
    if span > 0.0:
        # The guess may be off by the rounding of `values`: the two loops make it exact.
        guess = int(min(max((bound - values[0]) / span * (count - 1), 0.0), float(count)))
    while guess > 0 and (values[guess - 1] > bound or (not above and values[guess - 1] == bound)):
        guess -= 1
    while guess < count and (values[guess] < bound or (above and values[guess] == bound)):
        guess += 1
    return guess
