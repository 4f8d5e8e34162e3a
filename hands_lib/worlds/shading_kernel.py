"""The loops of the renderer: light that reaches the vertices, colours of the pixels. Compiled with Numba.

Pixels are sampled on a grid of n x n points, n odd, of which the middle one is the pixel's centre; visibility
comes from `geometry.kernels.zbuffer`, the project's rasteriser.
"""

import numpy as np

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.geometry.kernels.zbuffer import z_buffer


@compiled()
def light_vertices(
    start, stop, vertices, normals, faces, bases, radius, resolution, bias, weights, wraps, lit, visible
):
    """Irradiance of the vertices start..stop directions: adds to nothing shared, one slice for each
    direction.

    vertices, normals (V, 3), about the origin within `radius`; bases (D, 3, 3), rows: two axes across and the
    direction towards the light. weights (D, 3): radiance times solid angle. wraps (3,): how far each colour
    reaches past the terminator. Writes lit (D, V, 3) and visible (D, V).
    """
    num = len(vertices)
    x, y, z = np.empty(num), np.empty(num), np.empty(num)
    scale = (resolution - 1) / (2 * radius)
    for d in range(start, stop):
        basis = bases[d]
        for v in range(num):
            px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
            x[v] = (basis[0, 0] * px + basis[0, 1] * py + basis[0, 2] * pz + radius) * scale
            y[v] = (basis[1, 0] * px + basis[1, 1] * py + basis[1, 2] * pz + radius) * scale
            z[v] = basis[2, 0] * px + basis[2, 1] * py + basis[2, 2] * pz
        height = np.full((resolution, resolution), -np.inf)
        for face in range(len(faces)):
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            ax, ay, bx, by, cx, cy = x[i], y[i], x[j], y[j], x[k], y[k]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area <= 0.0:  # only faces that look towards the light
                continue
            left, right = int(np.ceil(min(ax, min(bx, cx)))), int(np.floor(max(ax, max(bx, cx))))
            top, bottom = int(np.ceil(min(ay, min(by, cy)))), int(np.floor(max(ay, max(by, cy))))
            left, top = max(left, 0), max(top, 0)
            right, bottom = min(right, resolution - 1), min(bottom, resolution - 1)
            inverse = 1.0 / area
            for v in range(top, bottom + 1):
                for u in range(left, right + 1):
                    wa = ((bx - u) * (cy - v) - (by - v) * (cx - u)) * inverse
                    wb = ((cx - u) * (ay - v) - (cy - v) * (ax - u)) * inverse
                    wc = 1.0 - wa - wb
                    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                        height[v, u] = max(height[v, u], wa * z[i] + wb * z[j] + wc * z[k])
        for v in range(num):
            nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
            cosine = nx * basis[2, 0] + ny * basis[2, 1] + nz * basis[2, 2]
            # A step off the surface, so that its own faces do not darken it.
            u = x[v] + bias * scale * (nx * basis[0, 0] + ny * basis[0, 1] + nz * basis[0, 2])
            w = y[v] + bias * scale * (nx * basis[1, 0] + ny * basis[1, 1] + nz * basis[1, 2])
            own = z[v] + bias * cosine + bias
            column, line = int(u), int(w)
            seen = 1.0
            if 0 <= column < resolution - 1 and 0 <= line < resolution - 1 and u >= 0.0 and w >= 0.0:
                fu, fw = u - column, w - line
                seen = (
                    (1 - fu) * (1 - fw) * (1.0 if height[line, column] <= own else 0.0)
                    + fu * (1 - fw) * (1.0 if height[line, column + 1] <= own else 0.0)
                    + (1 - fu) * fw * (1.0 if height[line + 1, column] <= own else 0.0)
                    + fu * fw * (1.0 if height[line + 1, column + 1] <= own else 0.0)
                )
            visible[d, v] = seen
            for channel in range(3):
                wrapped = (cosine + wraps[channel]) / (1.0 + wraps[channel])
                lit[d, v, channel] = weights[d, channel] * seen * max(wrapped, 0.0)


@compiled(inline="always")
def _noise(key):
    """A number in [-0.5, 0.5) from a counter (splitmix64)."""
    key = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float32((key ^ (key >> np.uint64(31))) >> np.uint64(40)) * np.float32(2.0**-24) - np.float32(
        0.5
    )


@compiled()
def render_views(
    start, stop, samples, homogeneous, depths, faces, vertices, normals, texels, subdivision, irradiance,
    lamps, lamp_colours, lamp_visible, eyes, rays, environment, exposure, grain, seeds, image, face_at,
):  # fmt: skip
    """Pictures and face indices of the views start..stop.

    homogeneous (B, V, 3), depths (B, V): of the sample grid. vertices, normals, irradiance (V, 3); texels (F,
    T, 4); lamps (L, 3) towards the lamps, lamp_colours (L, 3), lamp_visible (L, V). eyes (B, 3); rays (B, 3,
    3): world direction of the pixel (u, v, 1). environment (h, w, 3): what lies behind, by direction. Writes
    image (B, H, W, 3) and face_at (B, H, W), the face at each pixel's centre or -1.
    """
    _, height, width = face_at.shape
    fine_height, fine_width = height * samples, width * samples
    face_of = np.empty((1, fine_height, fine_width), np.int32)
    weights = np.empty((1, fine_height, fine_width, 3), np.float32)
    depth = np.empty((1, fine_height, fine_width), np.float32)
    colour = np.empty(3)
    env_height, env_width = environment.shape[:2]
    side = subdivision
    for view in range(start, stop):
        z_buffer(
            0,
            1,
            1,
            homogeneous[view : view + 1],
            depths[view : view + 1],
            faces,
            0.0,
            face_of,
            weights,
            depth,
        )
        ray = rays[view]
        ex, ey, ez = eyes[view]
        for v in range(height):
            for u in range(width):
                colour[:] = 0.0
                empty = 0
                for dv in range(samples):
                    for du in range(samples):
                        row, column = v * samples + dv, u * samples + du
                        face = face_of[0, row, column]
                        if face < 0:
                            empty += 1
                            continue
                        wa, wb = weights[0, row, column, 0], weights[0, row, column, 1]
                        wc = weights[0, row, column, 2]
                        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                        # The texel triangle around the point.
                        s, t = min(max(wb, 0.0), 1.0) * side, min(max(wc, 0.0), 1.0) * side
                        si, ti = min(int(s), side - 1), min(int(t), side - 1)
                        if si + ti > side - 1:
                            ti = side - 1 - si
                        fs, ft = s - si, t - ti
                        first = si * (side + 1) - si * (si - 1) // 2 + ti
                        second = (si + 1) * (side + 1) - (si + 1) * si // 2 + ti
                        upper = fs + ft > 1.0 and si + ti < side - 1
                        if upper:
                            w0, w1, w2 = fs + ft - 1.0, 1.0 - fs, 1.0 - ft
                            e0, e1, e2 = second + 1, first + 1, second
                        else:
                            w0, w1, w2 = 1.0 - fs - ft, fs, ft
                            e0, e1, e2 = first, second, first + 1
                        nx = wa * normals[i, 0] + wb * normals[j, 0] + wc * normals[k, 0]
                        ny = wa * normals[i, 1] + wb * normals[j, 1] + wc * normals[k, 1]
                        nz = wa * normals[i, 2] + wb * normals[j, 2] + wc * normals[k, 2]
                        scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
                        nx, ny, nz = nx * scale, ny * scale, nz * scale
                        vx = ex - (wa * vertices[i, 0] + wb * vertices[j, 0] + wc * vertices[k, 0])
                        vy = ey - (wa * vertices[i, 1] + wb * vertices[j, 1] + wc * vertices[k, 1])
                        vz = ez - (wa * vertices[i, 2] + wb * vertices[j, 2] + wc * vertices[k, 2])
                        scale = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
                        vx, vy, vz = vx * scale, vy * scale, vz * scale
                        gloss = w0 * texels[face, e0, 3] + w1 * texels[face, e1, 3] + w2 * texels[face, e2, 3]
                        # Skin reflects more at grazing angles (Schlick).
                        facing = max(nx * vx + ny * vy + nz * vz, 0.0)
                        grazing = 1.0 - facing
                        grazing = grazing * grazing * grazing * grazing * grazing
                        sheen0, sheen1, sheen2 = 0.0, 0.0, 0.0
                        for lamp in range(len(lamps)):
                            hx, hy, hz = vx + lamps[lamp, 0], vy + lamps[lamp, 1], vz + lamps[lamp, 2]
                            cosine = (nx * hx + ny * hy + nz * hz) / np.sqrt(
                                hx * hx + hy * hy + hz * hz + 1e-12
                            )
                            towards = nx * lamps[lamp, 0] + ny * lamps[lamp, 1] + nz * lamps[lamp, 2]
                            if cosine <= 0.0 or towards <= 0.0:
                                continue
                            power = cosine * cosine
                            power *= power
                            power *= power
                            power *= power  # 16th
                            power = power * (0.35 + power * (0.5 + 1.2 * power))
                            seen = wa * lamp_visible[lamp, i] + wb * lamp_visible[lamp, j]
                            power *= (seen + wc * lamp_visible[lamp, k]) * min(4.0 * towards, 1.0)
                            sheen0 += power * lamp_colours[lamp, 0]
                            sheen1 += power * lamp_colours[lamp, 1]
                            sheen2 += power * lamp_colours[lamp, 2]
                        reflect = gloss + (0.25 - 0.25 * gloss) * grazing
                        for channel in range(3):
                            albedo = (
                                w0 * texels[face, e0, channel]
                                + w1 * texels[face, e1, channel]
                                + w2 * texels[face, e2, channel]
                            )
                            light = wa * irradiance[i, channel] + wb * irradiance[j, channel]
                            light += wc * irradiance[k, channel]
                            sheen = sheen0 if channel == 0 else (sheen1 if channel == 1 else sheen2)
                            # Where little light arrives directly, some has bounced off skin before: it is
                            # redder.
                            colour[channel] += (
                                albedo * light + reflect * sheen + 0.15 * grazing * albedo * light
                            )
                if empty > 0:
                    dx = ray[0, 0] * u + ray[0, 1] * v + ray[0, 2]
                    dy = ray[1, 0] * u + ray[1, 1] * v + ray[1, 2]
                    dz = ray[2, 0] * u + ray[2, 1] * v + ray[2, 2]
                    scale = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
                    across = (np.arctan2(dx, dz) / (2 * np.pi) + 0.5) * env_width
                    down = (0.5 - np.arcsin(dy * scale) / np.pi) * (env_height - 1)
                    c0, r0 = int(np.floor(across)), min(int(down), env_height - 2)
                    fc, fr = across - c0, down - r0
                    c0, c1 = c0 % env_width, (c0 + 1) % env_width
                    for channel in range(3):
                        behind = (1 - fr) * (
                            (1 - fc) * environment[r0, c0, channel] + fc * environment[r0, c1, channel]
                        ) + fr * (
                            (1 - fc) * environment[r0 + 1, c0, channel]
                            + fc * environment[r0 + 1, c1, channel]
                        )
                        colour[channel] += empty * behind
                for channel in range(3):
                    linear = exposure * colour[channel] / (samples * samples)
                    # A shoulder instead of a hard clip.
                    linear = linear if linear < 0.6 else 1.0 - 0.4 * np.exp(-(linear - 0.6) / 0.4)
                    value = 255.0 * max(linear, 0.0) ** (1 / 2.2)
                    key = seeds[view] + np.uint64(((v * width + u) * 3 + channel) * 2)
                    value += grain * 2.4 * (_noise(key) + _noise(key + np.uint64(1)))
                    image[view, v, u, channel] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
                middle = samples // 2
                face_at[view, v, u] = face_of[0, v * samples + middle, u * samples + middle]


@compiled()
def measure_faces(start, stop, homogeneous, depths, faces, values, face_at, depth_at, value_at):
    """Depth and interpolated vertex values at the pixels of the views start..stop whose faces are known.

    The formulas are those of `zbuffer.z_buffer`. values (B, V, C); writes depth_at (B, H, W), infinite where
    there is no face, and value_at (B, H, W, C), zeros there.
    """
    _, height, width = face_at.shape
    channels = values.shape[2]
    for view in range(start, stop):
        for v in range(height):
            for u in range(width):
                face = face_at[view, v, u]
                if face < 0:
                    depth_at[view, v, u] = np.inf
                    value_at[view, v, u, :] = 0.0
                    continue
                i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                a, b, c = homogeneous[view, i], homogeneous[view, j], homogeneous[view, k]
                side_a = (
                    (b[1] * c[2] - b[2] * c[1]) * u
                    + (b[2] * c[0] - b[0] * c[2]) * v
                    + b[0] * c[1]
                    - b[1] * c[0]
                )
                side_b = (
                    (c[1] * a[2] - c[2] * a[1]) * u
                    + (c[2] * a[0] - c[0] * a[2]) * v
                    + c[0] * a[1]
                    - c[1] * a[0]
                )
                side_c = (
                    (a[1] * b[2] - a[2] * b[1]) * u
                    + (a[2] * b[0] - a[0] * b[2]) * v
                    + a[0] * b[1]
                    - a[1] * b[0]
                )
                total = side_a + side_b + side_c
                wa, wb, wc = side_a / total, side_b / total, side_c / total
                depth_at[view, v, u] = wa * depths[view, i] + wb * depths[view, j] + wc * depths[view, k]
                for channel in range(channels):
                    value_at[view, v, u, channel] = (
                        wa * values[view, i, channel]
                        + wb * values[view, j, channel]
                        + wc * values[view, k, channel]
                    )
