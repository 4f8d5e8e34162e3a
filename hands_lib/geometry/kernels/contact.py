"""Do two closed surfaces meet, and how far may one move before they do? Compiled with Numba.

Two closed surfaces without a common point are disjoint, or one lies inside the other. They have a common
point exactly if an edge of one meets a face of the other. `crossings` tries every edge against every face,
both ways, in float64; a touch, or rounding that cannot be told from one, counts as a meeting.
"""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.vectors import cross, dot, row, subtract


@compiled()
def _volume(a, b, c, p):
    """Six times the signed volume of a tetrahedron; 0 where rounding could turn the sign."""
    u, v, w = subtract(b, a), subtract(c, a), subtract(p, a)
    volume = dot(cross(u, v), w)
    size = (abs(u[0]) + abs(u[1]) + abs(u[2])) * (abs(v[0]) + abs(v[1]) + abs(v[2]))
    return volume if abs(volume) > 1e-14 * size * (abs(w[0]) + abs(w[1]) + abs(w[2])) else 0.0


@compiled()
def _pierces(p, q, at_p, at_q, a, b, c):
    """Whether the segment p q meets the triangle a b c, on whose plane's sides at_p and at_q its ends lie."""
    if at_p * at_q > 0.0:
        return False
    x, y, z = _volume(p, q, a, b), _volume(p, q, b, c), _volume(p, q, c, a)
    return (x >= 0.0 and y >= 0.0 and z >= 0.0) or (x <= 0.0 and y <= 0.0 and z <= 0.0)


@compiled()
def faces_meet(a, b, c, p, q, r):
    """Whether two triangles have a common point (those in one plane count as meeting)."""
    at_p, at_q, at_r = _volume(a, b, c, p), _volume(a, b, c, q), _volume(a, b, c, r)
    if (at_p > 0.0 and at_q > 0.0 and at_r > 0.0) or (at_p < 0.0 and at_q < 0.0 and at_r < 0.0):
        return False
    at_a, at_b, at_c = _volume(p, q, r, a), _volume(p, q, r, b), _volume(p, q, r, c)
    if (at_a > 0.0 and at_b > 0.0 and at_c > 0.0) or (at_a < 0.0 and at_b < 0.0 and at_c < 0.0):
        return False
    return (
        _pierces(p, q, at_p, at_q, a, b, c)
        or _pierces(q, r, at_q, at_r, a, b, c)
        or _pierces(r, p, at_r, at_p, a, b, c)
        or _pierces(a, b, at_a, at_b, p, q, r)
        or _pierces(b, c, at_b, at_c, p, q, r)
        or _pierces(c, a, at_c, at_a, p, q, r)
    )


@compiled()
def _boxes(vertices, faces, boxes):
    for face in range(len(faces)):
        for axis in range(3):
            a = vertices[faces[face, 0], axis]
            b = vertices[faces[face, 1], axis]
            c = vertices[faces[face, 2], axis]
            boxes[face, axis], boxes[face, 3 + axis] = min(a, min(b, c)), max(a, max(b, c))


@compiled()
def crossings(start, stop, right, left, right_faces, left_faces, part, right_hit, left_hit):
    """Which parts of the hands of the pairs start..stop meet the other hand.

    right, left (B, V, 3); faces (F, 3) of either hand; part (F,) of a face, the same for both hands. Sets
    right_hit and left_hit (B, parts), which start as zeros.
    """
    right_boxes, left_boxes = np.empty((len(right_faces), 6)), np.empty((len(left_faces), 6))
    near = np.empty(len(left_faces), np.int32)
    lows = np.empty(len(left_faces))
    for pair in range(start, stop):
        _boxes(right[pair], right_faces, right_boxes)
        _boxes(left[pair], left_faces, left_boxes)
        low, high = np.full(3, -np.inf), np.full(3, np.inf)
        for axis in range(3):
            low[axis] = max(right_boxes[:, axis].min(), left_boxes[:, axis].min())
            high[axis] = min(right_boxes[:, 3 + axis].max(), left_boxes[:, 3 + axis].max())
        if low[0] > high[0] or low[1] > high[1] or low[2] > high[2]:
            continue
        count, widest = 0, 0.0
        for face in range(len(left_faces)):
            box = left_boxes[face]
            outside = False
            for axis in range(3):
                outside |= box[axis] > high[axis] or box[3 + axis] < low[axis]
            if not outside:
                near[count], lows[count] = face, box[1]
                widest = max(widest, box[4] - box[1])
                count += 1
        order = np.argsort(lows[:count])
        sorted_lows = lows[:count][order]
        for face in range(len(right_faces)):
            box = right_boxes[face]
            outside = False
            for axis in range(3):
                outside |= box[axis] > high[axis] or box[3 + axis] < low[axis]
            if outside:
                continue
            a = row(right[pair], right_faces[face, 0])
            b = row(right[pair], right_faces[face, 1])
            c = row(right[pair], right_faces[face, 2])
            place = np.searchsorted(sorted_lows, box[1] - widest)
            while place < count and sorted_lows[place] <= box[4]:
                other = near[order[place]]
                place += 1
                its = left_boxes[other]
                if (
                    its[0] > box[3]
                    or its[3] < box[0]
                    or its[4] < box[1]
                    or its[2] > box[5]
                    or its[5] < box[2]
                    or (right_hit[pair, part[face]] and left_hit[pair, part[other]])
                ):
                    continue
                p = row(left[pair], left_faces[other, 0])
                q = row(left[pair], left_faces[other, 1])
                r = row(left[pair], left_faces[other, 2])
                if faces_meet(a, b, c, p, q, r):
                    right_hit[pair, part[face]] = True
                    left_hit[pair, part[other]] = True


@compiled()
def _height_map(vertices, faces, origin, cell, map, sign):
    """Greatest sign * z of the faces over the centres of the cells."""
    rows, columns = map.shape
    for face in range(len(faces)):
        a, b, c = row(vertices, faces[face, 0]), row(vertices, faces[face, 1]), row(vertices, faces[face, 2])
        ax, ay = (a[0] - origin[0]) / cell, (a[1] - origin[1]) / cell
        bx, by = (b[0] - origin[0]) / cell, (b[1] - origin[1]) / cell
        cx, cy = (c[0] - origin[0]) / cell, (c[1] - origin[1]) / cell
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        left, right = (
            max(np.ceil(min(ax, min(bx, cx))), 0.0),
            min(np.floor(max(ax, max(bx, cx))), columns - 1.0),
        )
        top, bottom = max(np.ceil(min(ay, min(by, cy))), 0.0), min(np.floor(max(ay, max(by, cy))), rows - 1.0)
        for v in range(int(top), int(bottom) + 1):
            for u in range(int(left), int(right) + 1):
                wa = ((bx - u) * (cy - v) - (by - v) * (cx - u)) / area
                wb = ((cx - u) * (ay - v) - (cy - v) * (ax - u)) / area
                wc = 1.0 - wa - wb
                if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                    map[v, u] = max(map[v, u], sign * (wa * a[2] + wb * b[2] + wc * c[2]))


@compiled()
def sweep(start, stop, right, left, right_faces, left_faces, cell, room):
    """How far each left hand may move along +z until it meets the right hand, coming from far below.

    Both hands (B, V, 3) as seen along the sweep; heights are compared on a grid of `cell`, so the result may
    be too large by a fraction of a cell times the slope of the surfaces. Writes room (B,): negative where it
    must go back, infinite where it would pass.
    """
    for pair in range(start, stop):
        low, high = np.empty(2), np.empty(2)
        for axis in range(2):
            low[axis] = max(right[pair, :, axis].min(), left[pair, :, axis].min())
            high[axis] = min(right[pair, :, axis].max(), left[pair, :, axis].max())
        room[pair] = np.inf
        if low[0] > high[0] or low[1] > high[1]:
            continue
        shape = int((high[1] - low[1]) / cell) + 1, int((high[0] - low[0]) / cell) + 1
        under, over = np.full(shape, -np.inf), np.full(shape, -np.inf)
        _height_map(right[pair], right_faces, low, cell, under, -1.0)
        _height_map(left[pair], left_faces, low, cell, over, 1.0)
        for v in range(shape[0]):
            for u in range(shape[1]):
                if under[v, u] > -np.inf and over[v, u] > -np.inf:
                    room[pair] = min(room[pair], -under[v, u] - over[v, u])
