"""Signed distances of the points that are nearer to a closed mesh than a limit, of the others none (Numba).

A point whose signed distance is below the limit is in the mesh's bounding box grown by the limit, and where
the limit is negative in the box shrunk by it: around a point so deep a whole ball is in the solid. Such
points alone are looked at. With a limit of 0 or less, only those of them that are inside are searched for.

Every mesh of the batch may have faces of its own.
"""

import numpy as np

from hands_lib.geometry.kernels.closest import TILE, closest_faces, spatial_order
from hands_lib.geometry.kernels.crossings import winding_numbers
from hands_lib.geometry.kernels.threads import compiled


@compiled()
def distances_below(
    start, stop, limit, points, num_points, vertices, num_vertices, faces, num_faces,
    distance, chosen, weights, direction,
):  # fmt: skip
    """Of the meshes start..stop of the batch.

    points (B, P, 3), vertices (B, V, 3), of which the first num_points (B,), num_vertices (B,) count; faces
    (B, F, 3) or, of one topology, (1, F, 3), of which the first num_faces (B,) count. Writes distance (B, P),
    infinite where it is not below the limit, and where it is: chosen, weights, direction as
    `closest.closest_faces`.
    """
    low, high = np.empty(3), np.empty(3)
    for item in range(start, stop):
        distance[item] = np.inf
        own = vertices[item, : num_vertices[item]]
        its = faces[item if len(faces) > 1 else 0, : num_faces[item]]
        for axis in range(3):
            low[axis], high[axis] = np.inf, -np.inf
        for vertex in range(len(own)):
            for axis in range(3):
                low[axis] = min(low[axis], own[vertex, axis])
                high[axis] = max(high[axis], own[vertex, axis])
        rows = np.empty(num_points[item], np.int64)
        count = 0
        for point in range(num_points[item]):
            place = points[item, point]
            within = True
            for axis in range(3):
                # Not strict, and wider by rounding: what is in doubt is measured.
                slack = 1e-6 * (high[axis] - low[axis])
                within &= low[axis] - limit - slack <= place[axis] <= high[axis] + limit + slack
            rows[count] = point
            count += within
        if count == 0:
            continue
        found = np.empty((1, count, 3), points.dtype)
        for index in range(count):
            found[0, index] = points[item, rows[index]]
        order = np.empty((1, count), np.int32)
        spatial_order(found[0], order[0])
        mesh = vertices[item : item + 1, : num_vertices[item]].copy()
        if limit <= 0.0:
            winding = np.empty((1, count), np.int64)
            winding_numbers(0, (count + TILE - 1) // TILE, TILE, found, order, mesh, its, winding)
            inside = 0
            for index in range(count):
                found[0, inside], rows[inside] = found[0, index], rows[index]
                inside += winding[0, index] > 0
            if inside == 0:
                continue
            count = inside
            found = found[:, :count].copy()
            order = np.empty((1, count), np.int32)
            spatial_order(found[0], order[0])
        far, face = np.empty((1, count), points.dtype), np.empty((1, count), np.int64)
        share, away = np.empty((1, count, 3), points.dtype), np.empty((1, count, 3), points.dtype)
        tiles = (count + TILE - 1) // TILE
        closest_faces(0, tiles, found, order, mesh, its, limit > 0.0, far, face, share, away)
        # All that are left are inside where the limit is not above 0.
        sign = 1.0 if limit > 0.0 else -1.0
        for index in range(count):
            if sign * far[0, index] < limit:
                row = rows[index]
                distance[item, row] = sign * far[0, index]
                chosen[item, row] = face[0, index]
                weights[item, row] = share[0, index]
                for axis in range(3):
                    direction[item, row, axis] = sign * away[0, index, axis]
