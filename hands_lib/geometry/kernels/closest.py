"""The face of a mesh that is closest to a point, by a pruned linear search (Numba).

Hands have 600 to 3,000 faces. At that size a loop that the compiler turns into vector instructions beats a
tree search: no build, no branches, no scattered memory. The search is made of three ideas.

1. Each face carries an orthonormal frame of its own, x along its longest edge. A point in that frame has its
   height above the plane and two coordinates in it, so its distance is the height and a distance to three
   segments in 2D: no division, and the regions of the usual algorithm (Ericson, Real-Time Collision
   Detection, 2005, 5.1.5) appear as minima instead of branches.
2. Points are handled in tiles of `TILE`. A face whose bounding sphere is farther from the tile's box than the
   closest face can be from any of its points is skipped for the whole tile.
3. Large clouds are first ordered along a Morton curve, which makes the tiles compact.

Precision. The search runs in the dtype of the points, relative to the mesh's centre; rounding can make it
prefer a face that is farther by about 1e-7 of the mesh's size. Distance, barycentrics and direction are then
evaluated for the chosen face in float64 from the original coordinates.
"""

import numpy as np

from hands_lib.geometry.kernels.crossings import count_crossings_of_tile, prepare_crossings
from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.vectors import add_scaled, cross, dot, length, row, scaled, subtract

TILE = 32
# Smaller clouds are taken as they come: the order of mesh vertices and of samples on rays is compact enough.
SORTED_FROM = 2048
# Input is finite: without care for NaN and -0, minimum and maximum are single instructions.
FAST = {"contract", "nnan", "nsz"}


@compiled()
def spatial_order(points, order):
    """Writes an order (P,) of `points` (P, 3) that follows a Morton curve, by a counting sort of cells."""
    num_points = len(points)
    if num_points < SORTED_FROM:
        for index in range(num_points):
            order[index] = index
        return
    bits = 1
    while bits < 7 and (1 << (3 * (bits + 1))) * 8 <= num_points:
        bits += 1
    cells = 1 << bits
    lower, upper = points[0].copy(), points[0].copy()
    for index in range(num_points):
        for axis in range(3):
            value = points[index, axis]
            lower[axis] = min(lower[axis], value)
            upper[axis] = max(upper[axis], value)
    scale = np.zeros(3)
    for axis in range(3):
        extent = np.float64(upper[axis]) - np.float64(lower[axis])
        if extent > 0.0:
            scale[axis] = cells / extent
    spread = np.zeros(cells, np.int32)  # the bits of a cell index, each followed by two zeros
    for cell in range(cells):
        for bit in range(bits):
            spread[cell] |= ((cell >> bit) & 1) << (3 * bit)
    codes = np.empty(num_points, np.int32)
    starts = np.zeros((1 << (3 * bits)) + 1, np.int32)
    for index in range(num_points):
        code = 0
        for axis in range(3):
            cell = min(int((points[index, axis] - lower[axis]) * scale[axis]), cells - 1)
            code |= spread[cell] << axis
        codes[index] = code
        starts[code + 1] += 1
    for code in range(len(starts) - 1):
        starts[code + 1] += starts[code]
    for index in range(num_points):
        code = codes[index]
        order[starts[code]] = index
        starts[code] += 1


@compiled()
def prepare_search(vertices, faces, centre, frames, spheres):
    """Fills `frames` (F, 23) and `spheres` (4, F) for the search, relative to `centre`.

    frames    x axis, offset | y axis, offset | normal, offset | length of edge 0
              | for edges 1 and 2: direction (2), offset along it, offset across it, length
              Edges are numbered from the longest, counter-clockwise; "across" is positive inside the face.
    spheres   the centroid, which is a point of the face, and the radius about it
    """
    for face in range(len(faces)):
        a = subtract(row(vertices, faces[face, 0]), centre)
        b = subtract(row(vertices, faces[face, 1]), centre)
        c = subtract(row(vertices, faces[face, 2]), centre)
        middle = scaled(1 / 3, add_scaled(add_scaled(a, 1.0, b), 1.0, c))
        spheres[0, face], spheres[1, face], spheres[2, face] = middle
        spheres[3, face] = max(
            length(subtract(a, middle)), max(length(subtract(b, middle)), length(subtract(c, middle)))
        )
        # Turn the face until its longest edge comes first.
        ab, bc, ca = length(subtract(b, a)), length(subtract(c, b)), length(subtract(a, c))
        if bc >= ab and bc >= ca:
            a, b, c, ab = b, c, a, bc
        elif ca >= ab:
            a, b, c, ab = c, a, b, ca
        x_axis = (1.0, 0.0, 0.0)
        if ab > 0.0:
            x_axis = scaled(1 / ab, subtract(b, a))
        third = subtract(c, a)
        along = dot(third, x_axis)
        across = add_scaled(third, -along, x_axis)
        height = length(across)
        # A face without area has no plane: it counts as its edges, in any plane that contains them.
        without_area = height <= 1e-12 * ab
        if without_area:
            height = 0.0
            across = cross(x_axis, (0.0, 0.0, 1.0) if abs(x_axis[2]) < 0.5 else (1.0, 0.0, 0.0))
        y_axis = scaled(1 / length(across), across)
        normal = cross(x_axis, y_axis)
        frame = frames[face]
        frame[0], frame[1], frame[2], frame[3] = x_axis[0], x_axis[1], x_axis[2], -dot(a, x_axis)
        frame[4], frame[5], frame[6], frame[7] = y_axis[0], y_axis[1], y_axis[2], -dot(a, y_axis)
        frame[8], frame[9], frame[10], frame[11] = normal[0], normal[1], normal[2], -dot(a, normal)
        frame[12] = ab
        for edge in range(2):
            from_x, from_y = (ab, 0.0) if edge == 0 else (along, height)
            dx, dy = (along - ab, height) if edge == 0 else (-along, -height)
            side = np.sqrt(dx * dx + dy * dy)
            dx, dy = (dx / side, dy / side) if side > 0.0 else (1.0, 0.0)
            at = 13 + 5 * edge
            frame[at], frame[at + 1] = dx, dy
            frame[at + 2] = -(from_x * dx + from_y * dy)
            # No point is inside a face without area.
            frame[at + 3] = -np.inf if without_area else from_x * dy - from_y * dx
            frame[at + 4] = side


@compiled(fastmath=FAST)
def _hold_against(face, frame, x, y, z, best, chosen):
    """Lowers the squared distances `best` of a tile to those of one face, and notes where it was closer."""
    xx, xy, xz, x0 = frame[0], frame[1], frame[2], frame[3]
    yx, yy, yz, y0 = frame[4], frame[5], frame[6], frame[7]
    nx, ny, nz, n0 = frame[8], frame[9], frame[10], frame[11]
    length0 = frame[12]
    dx1, dy1, along1, across1, length1 = frame[13], frame[14], frame[15], frame[16], frame[17]
    dx2, dy2, along2, across2, length2 = frame[18], frame[19], frame[20], frame[21], frame[22]
    zero = x.dtype.type(0)
    for j in range(TILE):
        u = x[j] * xx + y[j] * xy + z[j] * xz + x0
        v = x[j] * yx + y[j] * yy + z[j] * yz + y0
        height = x[j] * nx + y[j] * ny + z[j] * nz + n0
        s1 = u * dx1 + v * dy1 + along1
        w1 = v * dx1 - u * dy1 + across1
        s2 = u * dx2 + v * dy2 + along2
        w2 = v * dx2 - u * dy2 + across2
        inside = min(v, min(w1, w2)) >= zero
        s0 = u - min(max(u, zero), length0)
        s1 = s1 - min(max(s1, zero), length1)
        s2 = s2 - min(max(s2, zero), length2)
        outline = min(s0 * s0 + v * v, min(s1 * s1 + w1 * w1, s2 * s2 + w2 * w2))
        squared = height * height + (zero if inside else outline)
        closer = squared < best[j]
        best[j] = squared if closer else best[j]
        chosen[j] = face if closer else chosen[j]


@compiled(fastmath=FAST)
def _search_tile(x, y, z, frames, spheres, near, far, candidates, best, chosen):
    """Squared distance `best` and face `chosen` for the TILE points x, y, z (relative to the centre).

    near, far, candidates   room for one number a face: the squared distances of its centroid from the tile's
                            box and from the corner of the box opposite to it; the faces that may be closest
    """
    # Constants in the dtype of the points: Numba would widen a float32 that meets a Python number to float64.
    number = x.dtype.type
    zero, half, unknown = number(0), number(0.5), number(np.inf)
    # Covers the rounding of the bounds.
    slack = number(1 + 1e-5)
    lower_x, upper_x, lower_y, upper_y, lower_z, upper_z = x[0], x[0], y[0], y[0], z[0], z[0]
    for j in range(TILE):
        lower_x, upper_x = min(lower_x, x[j]), max(upper_x, x[j])
        lower_y, upper_y = min(lower_y, y[j]), max(upper_y, y[j])
        lower_z, upper_z = min(lower_z, z[j]), max(upper_z, z[j])
        best[j] = unknown
    mid_x, mid_y, mid_z = half * (lower_x + upper_x), half * (lower_y + upper_y), half * (lower_z + upper_z)
    half_x, half_y, half_z = upper_x - mid_x, upper_y - mid_y, upper_z - mid_z

    # Every point of the tile is at most as far from the surface as the farthest corner is from any centroid.
    reach = unknown
    for face in range(len(frames)):
        dx, dy = abs(spheres[0, face] - mid_x), abs(spheres[1, face] - mid_y)
        dz = abs(spheres[2, face] - mid_z)
        out_x, out_y, out_z = max(dx - half_x, zero), max(dy - half_y, zero), max(dz - half_z, zero)
        near[face] = out_x * out_x + out_y * out_y + out_z * out_z
        dx, dy, dz = dx + half_x, dy + half_y, dz + half_z
        farthest = dx * dx + dy * dy + dz * dz
        far[face] = farthest
        reach = farthest if farthest < reach else reach
    # Appending without a branch, as which faces are kept cannot be predicted.
    num_candidates, nearest, limit = 0, 0, np.sqrt(reach) * slack
    for face in range(len(frames)):
        within = limit + spheres[3, face]
        candidates[num_candidates] = face
        num_candidates += near[face] <= within * within
        nearest = face if far[face] <= reach else nearest

    # Held against the nearest of them first, the points themselves say how far they are at most.
    _hold_against(np.int32(nearest), frames[nearest], x, y, z, best, chosen)
    farthest = zero
    for j in range(TILE):
        farthest = best[j] if best[j] > farthest else farthest
    num_left, limit = 0, np.sqrt(farthest) * slack
    for index in range(num_candidates):
        face = candidates[index]
        within = limit + spheres[3, face]
        candidates[num_left] = face
        num_left += near[face] <= within * within
    for index in range(num_left):
        face = candidates[index]
        _hold_against(face, frames[face], x, y, z, best, chosen)


@compiled()
def _closest_on_segment(p, a, b):
    """Squared distance of p to the segment from a to b, and where on it (0 at a, 1 at b)."""
    along = subtract(b, a)
    to_point = subtract(p, a)
    squared = dot(along, along)
    where = min(max(dot(to_point, along) / squared, 0.0), 1.0) if squared > 0.0 else 0.0
    rest = add_scaled(to_point, -where, along)
    return dot(rest, rest), where


@compiled()
def closest_on_face(p, a, b, c):
    """Barycentrics of the point of the triangle a, b, c closest to p. Faces without area count as their
    edges."""
    normal = cross(subtract(b, a), subtract(c, a))
    weight_a = dot(cross(subtract(c, b), subtract(p, b)), normal)
    weight_b = dot(cross(subtract(a, c), subtract(p, c)), normal)
    weight_c = dot(cross(subtract(b, a), subtract(p, a)), normal)
    total = weight_a + weight_b + weight_c
    if total > 0.0 and weight_a >= 0.0 and weight_b >= 0.0 and weight_c >= 0.0:
        return weight_a / total, weight_b / total, weight_c / total
    squared_ab, where_ab = _closest_on_segment(p, a, b)
    squared_bc, where_bc = _closest_on_segment(p, b, c)
    squared_ca, where_ca = _closest_on_segment(p, c, a)
    if squared_ab <= squared_bc and squared_ab <= squared_ca:
        return 1.0 - where_ab, where_ab, 0.0
    if squared_bc <= squared_ca:
        return 0.0, 1.0 - where_bc, where_bc
    return where_ca, 0.0, 1.0 - where_ca


@compiled()
def closest_faces(start, stop, points, order, vertices, faces, signed, distance, chosen, weights, direction):
    """Closest face of the tiles start..stop, counted through all meshes of the batch.

    points (B, P, 3), order (B, P) and vertices (B, V, 3) belong together; faces (F, 3) are shared.
    Writes distance (B, P), negative inside if `signed`; chosen (B, P); weights (B, P, 3), the barycentrics of
    the closest point; direction (B, P, 3), the gradient of the distance: the unit vector from the closest
    point to the point (reversed inside), on the surface itself the normal of the face.
    """
    num_points, num_faces = points.shape[1], len(faces)
    tiles = (num_points + TILE - 1) // TILE
    frames = np.empty((num_faces, 23), points.dtype)
    spheres = np.empty((4, num_faces), points.dtype)
    near, far = np.empty(num_faces, points.dtype), np.empty(num_faces, points.dtype)
    candidates = np.empty(num_faces, np.int32)
    boxes = np.empty((num_faces, 5))
    edges = np.empty((num_faces, 3, 6))
    x, y, z = np.empty(TILE, points.dtype), np.empty(TILE, points.dtype), np.empty(TILE, points.dtype)
    exact_x, exact_y, exact_z, winding = np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE)
    best, face_of = np.empty(TILE, points.dtype), np.zeros(TILE, np.int32)
    ready, centre = -1, (0.0, 0.0, 0.0)
    for tile in range(start, stop):
        mesh, first = tile // tiles, tile % tiles * TILE
        if mesh != ready:
            ready, centre = mesh, row(vertices[mesh], 0)
            for vertex in range(1, vertices.shape[1]):
                centre = add_scaled(centre, 1.0, row(vertices[mesh], vertex))
            centre = scaled(1 / vertices.shape[1], centre)
            prepare_search(vertices[mesh], faces, centre, frames, spheres)
            if signed:
                prepare_crossings(vertices[mesh], faces, boxes, edges)
        for j in range(TILE):
            point = row(points[mesh], order[mesh, min(first + j, num_points - 1)])
            exact_x[j], exact_y[j], exact_z[j] = point
            x[j], y[j], z[j] = subtract(point, centre)
        _search_tile(x, y, z, frames, spheres, near, far, candidates, best, face_of)
        if signed:
            count_crossings_of_tile(exact_x, exact_y, exact_z, vertices[mesh], faces, boxes, edges, winding)
        for j in range(min(TILE, num_points - first)):
            index, face = order[mesh, first + j], face_of[j]
            point = exact_x[j], exact_y[j], exact_z[j]
            a = row(vertices[mesh], faces[face, 0])
            b = row(vertices[mesh], faces[face, 1])
            c = row(vertices[mesh], faces[face, 2])
            weight = closest_on_face(point, a, b, c)
            rest = subtract(point, a)
            rest = add_scaled(rest, -weight[1], subtract(b, a))
            rest = add_scaled(rest, -weight[2], subtract(c, a))
            away = length(rest)
            sign = -1.0 if signed and winding[j] > 0.0 else 1.0
            normal = cross(subtract(b, a), subtract(c, a))
            if away > 0.0:
                unit = scaled(sign / away, rest)
            elif dot(normal, normal) > 0.0:
                unit = scaled(1 / length(normal), normal)
            else:
                unit = (0.0, 0.0, 0.0)
            distance[mesh, index] = sign * away
            chosen[mesh, index] = face
            for axis in range(3):
                weights[mesh, index, axis] = weight[axis]
                direction[mesh, index, axis] = unit[axis]
