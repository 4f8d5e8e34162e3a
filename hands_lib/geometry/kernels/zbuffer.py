"""Which face is in front: at each pixel (z-buffer) and on the way to each point (occlusion), with Numba.

Both use homogeneous rasterisation (Olano and Greer, 1997). A vertex is the vector h = (h_x, h_y, h_w) with
the pixel coordinates (h_x, h_y) / h_w. The vector r of a pixel is (u, v, 1); r . (h_b x h_c) has the sign of
the side of edge bc on which the pixel lies, and the three such numbers of a face, divided by their sum, are
the barycentrics of the point of the face that the pixel sees. They are correct in perspective, the same
formulas hold for orthographic cameras (h_w = 1), and a face that reaches behind the camera needs no clipping:
only the points with a depth beyond the near plane count.

A pixel whose centre is exactly on an edge belongs to both faces, so there are no cracks; of faces at equal
depth (rounded to float32) the lowest index wins. The edge numbers of two neighbours are exact negatives of
each other, because a cross product without fused multiply-add is antisymmetric in floating point. Therefore
this module is compiled without it, and the torch version in `raster` agrees in every bit.
"""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.vectors import cross, dot, row, scaled


@compiled()
def to_image(points, poses, intrinsics, orthographic, homogeneous, depths):
    """Homogeneous pixel coordinates and depths of points (B, P, 3), as `raster._to_image` computes them.

    poses (B, 4, 4) are camera_from_world; intrinsics (B, 3, 3); writes homogeneous (B, P, 3), depths (B, P).
    """
    for image in range(len(points)):
        pose, matrix = poses[image], intrinsics[image]
        for point in range(points.shape[1]):
            world = row(points[image], point)
            x = dot(world, row(pose, 0)) + np.float64(pose[0, 3])
            y = dot(world, row(pose, 1)) + np.float64(pose[1, 3])
            z = dot(world, row(pose, 2)) + np.float64(pose[2, 3])
            seen = x, y, 1.0 if orthographic else z
            for axis in range(3):
                homogeneous[image, point, axis] = dot(seen, row(matrix, axis))
            depths[image, point] = z


@compiled()
def _first_last(low, high, size):
    """First and last of the pixels 0..size-1 whose centres lie between low and high."""
    return int(np.ceil(max(low, 0.0))), int(np.floor(min(high, size - 1.0)))


@compiled()
def _edge_vectors(a, b, c):
    """Turned so that the part of the face before the camera has three positive sides."""
    edge_a, edge_b, edge_c = cross(b, c), cross(c, a), cross(a, b)
    turn = np.sign(dot(a, edge_a))
    return scaled(turn, edge_a), scaled(turn, edge_b), scaled(turn, edge_c)


@compiled()
def _narrowed(low, high, slope, offset):
    """Where slope * u + offset >= 0 within low..high, and a little more: pixels are tested exactly later."""
    if slope > 0.0:
        return max(low, -offset / slope - 1e-6), high
    if slope < 0.0:
        return low, min(high, -offset / slope + 1e-6)
    return low, high


@compiled()
def _pixel_box(a, b, c, width, height):
    """First and last column and row that the face can touch: everything if it reaches behind the camera."""
    if min(a[2], min(b[2], c[2])) <= 0.0:
        return 0, width - 1, 0, height - 1
    u_a, u_b, u_c = a[0] / a[2], b[0] / b[2], c[0] / c[2]
    v_a, v_b, v_c = a[1] / a[2], b[1] / b[2], c[1] / c[2]
    left, right = _first_last(min(u_a, min(u_b, u_c)), max(u_a, max(u_b, u_c)), width)
    top, bottom = _first_last(min(v_a, min(v_b, v_c)), max(v_a, max(v_b, v_c)), height)
    return left, right, top, bottom


@compiled()
def z_buffer(start, stop, bands, homogeneous, depths, faces, near, face_at, weights_at, depth_at):
    """Rasterises the bands start..stop; every image is cut into `bands` bands of rows.

    homogeneous (B, V, 3) and depths (B, V), float64; faces (F, 3). Writes face_at (B, H, W), -1 where there
    is none; weights_at (B, H, W, 3), the barycentrics; depth_at (B, H, W), infinite where there is no face.
    """
    _, height, width = face_at.shape
    sides = np.empty((len(faces), 12))  # edge vectors and corner depths of the faces that are in view
    for band in range(start, stop):
        image = band // bands
        first_row, end_row = band % bands * height // bands, (band % bands + 1) * height // bands
        face_of = np.full((end_row - first_row, width), -1, np.int32)
        nearest = np.full((end_row - first_row, width), np.inf, np.float32)
        for face in range(len(faces)):
            i, j, k = faces[face]
            a, b, c = row(homogeneous[image], i), row(homogeneous[image], j), row(homogeneous[image], k)
            z_a, z_b, z_c = depths[image, i], depths[image, j], depths[image, k]
            if max(z_a, max(z_b, z_c)) <= near:
                continue
            left, right, top, bottom = _pixel_box(a, b, c, width, height)
            top, bottom = max(top, first_row), min(bottom, end_row - 1)
            if left > right or top > bottom:
                continue
            edge_a, edge_b, edge_c = _edge_vectors(a, b, c)
            side = sides[face]
            side[0], side[1], side[2] = edge_a
            side[3], side[4], side[5] = edge_b
            side[6], side[7], side[8] = edge_c
            side[9], side[10], side[11] = z_a, z_b, z_c
            for v in range(top, bottom + 1):
                row_a = edge_a[1] * v + edge_a[2]
                row_b = edge_b[1] * v + edge_b[2]
                row_c = edge_c[1] * v + edge_c[2]
                low, high = _narrowed(np.float64(left), np.float64(right), edge_a[0], row_a)
                low, high = _narrowed(low, high, edge_b[0], row_b)
                low, high = _narrowed(low, high, edge_c[0], row_c)
                for u in range(int(np.ceil(low)), int(np.floor(high)) + 1):
                    side_a, side_b = edge_a[0] * u + row_a, edge_b[0] * u + row_b
                    side_c = edge_c[0] * u + row_c
                    total = side_a + side_b + side_c
                    if min(side_a, min(side_b, side_c)) >= 0.0 and total > 0.0:
                        depth = (side_a * z_a + side_b * z_b + side_c * z_c) / total
                        if depth > near and np.float32(depth) < nearest[v - first_row, u]:
                            nearest[v - first_row, u] = depth
                            face_of[v - first_row, u] = face
        for v in range(first_row, end_row):
            for u in range(width):
                face = face_of[v - first_row, u]
                face_at[image, v, u] = face
                weights = weights_at[image, v, u]
                if face < 0:
                    weights[0] = weights[1] = weights[2] = 0.0
                    depth_at[image, v, u] = np.inf
                    continue
                side = sides[face]
                side_a = side[0] * u + (side[1] * v + side[2])
                side_b = side[3] * u + (side[4] * v + side[5])
                side_c = side[6] * u + (side[7] * v + side[8])
                share = 1.0 / (side_a + side_b + side_c)
                side_a, side_b, side_c = share * side_a, share * side_b, share * side_c
                weights[0], weights[1], weights[2] = side_a, side_b, side_c
                depth_at[image, v, u] = side_a * side[9] + side_b * side[10] + side_c * side[11]


@compiled()
def occluded(start, stop, blocks, rays, ray_depths, owners, homogeneous, depths, faces, near, slack, result):
    """Whether a face stands between the camera and each point of the blocks start..stop.

    Every image's points are cut into `blocks` blocks. rays (B, P, 3) and ray_depths (B, P) are the points in
    the coordinates of `homogeneous` (B, V, 3) and `depths` (B, V); owners (P,) is the vertex that a point is,
    whose own faces do not hide it, or -1. A face hides a point if it is nearer than its depth times (1 -
    slack). Points are sorted by pixel column, so a face is held only against those within its width.
    """
    num_points = rays.shape[1]
    for block in range(start, stop):
        image = block // blocks
        first, end = block % blocks * num_points // blocks, (block % blocks + 1) * num_points // blocks
        columns = np.empty(end - first)
        for index in range(first, end):
            result[image, index] = False
            columns[index - first] = rays[image, index, 0] / rays[image, index, 2]
        order = np.argsort(columns)
        columns = columns[order]
        for face in range(len(faces)):
            i, j, k = faces[face]
            a, b, c = row(homogeneous[image], i), row(homogeneous[image], j), row(homogeneous[image], k)
            z_a, z_b, z_c = depths[image, i], depths[image, j], depths[image, k]
            if max(z_a, max(z_b, z_c)) <= near:
                continue
            low, high, top, bottom = -np.inf, np.inf, -np.inf, np.inf
            if min(a[2], min(b[2], c[2])) > 0.0:
                # Widened beyond the rounding of the divisions.
                u_a, u_b, u_c = a[0] / a[2], b[0] / b[2], c[0] / c[2]
                v_a, v_b, v_c = a[1] / a[2], b[1] / b[2], c[1] / c[2]
                low, high = min(u_a, min(u_b, u_c)), max(u_a, max(u_b, u_c))
                top, bottom = min(v_a, min(v_b, v_c)), max(v_a, max(v_b, v_c))
                margin = 1e-9 * (1.0 + abs(low) + abs(high) + abs(top) + abs(bottom))
                low, high, top, bottom = low - margin, high + margin, top - margin, bottom + margin
            edge_a, edge_b, edge_c = _edge_vectors(a, b, c)
            for place in range(np.searchsorted(columns, low), np.searchsorted(columns, high, side="right")):
                index = first + order[place]
                if result[image, index]:
                    continue
                ray = row(rays[image], index)
                line = ray[1] / ray[2]
                if line < top or line > bottom:
                    continue
                side_a, side_b, side_c = dot(ray, edge_a), dot(ray, edge_b), dot(ray, edge_c)
                total = side_a + side_b + side_c
                if min(side_a, min(side_b, side_c)) >= 0.0 and total > 0.0:
                    depth = (side_a * z_a + side_b * z_b + side_c * z_c) / total
                    own = owners[index]
                    between = near < depth and depth < ray_depths[image, index] * (1.0 - slack)
                    if between and own != i and own != j and own != k:
                        result[image, index] = True
