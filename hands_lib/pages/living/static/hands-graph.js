// Runs a graph that hands_lib/pages/living/export.py wrote: ONNX's operators in plain JavaScript, so that a
// page computes what torch computes without a server, a download or another library.
//
//   const graph = handsGraph.load(model);               // the object that export.py makes, as JSON
//   const found = graph.run({ image: handsGraph.tensor([1, 3, 64, 64], values) });
//   found.joints.data                                    // by the names of the graph's outputs
//
// A tensor is { shape, data }: Float32Array, Int32Array (ONNX's int64 as well) or Uint8Array (booleans). Sums
// are made in double precision and kept in single, which is never less exact than torch.
(function () {
  'use strict';

  const tensor = (shape, data) => ({ shape, data });
  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  const floats = (shape) => tensor(shape, new Float32Array(size(shape)));
  const axisOf = (axis, rank) => (axis < 0 ? axis + rank : axis);
  const list = (x) => Array.from(x.data);
  const scalar = (value) => tensor([], Float32Array.of(value));

  function strides(shape) {
    const found = new Array(shape.length);
    for (let n = shape.length - 1, step = 1; n >= 0; step *= shape[n], n--) found[n] = step;
    return found;
  }

  function joint(shapes) {
    const rank = Math.max(...shapes.map((s) => s.length));
    const found = new Array(rank).fill(1);
    for (const shape of shapes) {
      shape.forEach((length, n) => {
        const at = rank - shape.length + n;
        if (found[at] === 1) found[at] = length;
        else if (length !== 1 && length !== found[at]) throw new Error('shapes ' + JSON.stringify(shapes) + ' do not fit');
      });
    }
    return found;
  }

  // Steps of a tensor that is broadcast to a shape: 0 along what it lacks.
  function stepsIn(x, shape) {
    const own = strides(x.shape);
    const before = shape.length - x.shape.length;
    return shape.map((_, n) => (n < before || x.shape[n - before] === 1 ? 0 : own[n - before]));
  }

  // f of the elements of up to three tensors that are broadcast against each other.
  function map(f, inputs, Kind) {
    const [a, b, c] = [inputs[0], inputs[1] || inputs[0], inputs[2] || inputs[0]];
    const shape = joint(inputs.map((x) => x.shape));
    const out = tensor(shape, new (Kind || a.data.constructor)(size(shape)));
    const rank = shape.length;
    if (!out.data.length) return out;
    if (inputs.length === 1) {
      for (let i = 0; i < out.data.length; i++) out.data[i] = f(a.data[i]);
      return out;
    }
    if (inputs.length === 2 && a.data.length === out.data.length && (b.data.length === 1 || b.data.length === a.data.length)) {
      const step = b.data.length === 1 ? 0 : 1; // nothing but ones is broadcast
      for (let i = 0; i < out.data.length; i++) out.data[i] = f(a.data[i], b.data[i * step]);
      return out;
    }
    const [sa, sb, sc] = [a, b, c].map((x) => stepsIn(x, shape));
    const inner = rank ? shape[rank - 1] : 1;
    const [ia, ib, ic] = [sa, sb, sc].map((s) => (rank ? s[rank - 1] : 0));
    const count = new Array(Math.max(rank - 1, 0)).fill(0);
    let [pa, pb, pc] = [0, 0, 0];
    for (let at = 0; ;) {
      for (let i = 0; i < inner; i++) out.data[at + i] = f(a.data[pa + i * ia], b.data[pb + i * ib], c.data[pc + i * ic]);
      at += inner;
      let n = rank - 2;
      for (; n >= 0; n--) {
        pa += sa[n]; pb += sb[n]; pc += sc[n];
        if (++count[n] < shape[n]) break;
        pa -= sa[n] * shape[n]; pb -= sb[n] * shape[n]; pc -= sc[n] * shape[n];
        count[n] = 0;
      }
      if (n < 0) return out;
    }
  }
  const each = (f, Kind) => (inputs) => map(f, inputs, Kind);

  // C (n x m) += A (n x k) B (k x m), all row by row; blocks of four by four stay in registers.
  function product(A, a, B, b, C, c, n, k, m) {
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const r0 = a + i * k, r1 = r0 + k, r2 = r1 + k, r3 = r2 + k;
      const t0 = c + i * m, t1 = t0 + m, t2 = t1 + m, t3 = t2 + m;
      let j = 0;
      for (; j + 4 <= m; j += 4) {
        let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
        let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
        for (let p = 0, q = b + j; p < k; p++, q += m) {
          const y0 = B[q], y1 = B[q + 1], y2 = B[q + 2], y3 = B[q + 3];
          const x0 = A[r0 + p], x1 = A[r1 + p], x2 = A[r2 + p], x3 = A[r3 + p];
          s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
          s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
          s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
          s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
        }
        C[t0 + j] += s00; C[t0 + j + 1] += s01; C[t0 + j + 2] += s02; C[t0 + j + 3] += s03;
        C[t1 + j] += s10; C[t1 + j + 1] += s11; C[t1 + j + 2] += s12; C[t1 + j + 3] += s13;
        C[t2 + j] += s20; C[t2 + j + 1] += s21; C[t2 + j + 2] += s22; C[t2 + j + 3] += s23;
        C[t3 + j] += s30; C[t3 + j + 1] += s31; C[t3 + j + 2] += s32; C[t3 + j + 3] += s33;
      }
      for (; j < m; j++) {
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let p = 0, q = b + j; p < k; p++, q += m) {
          const y = B[q];
          s0 += A[r0 + p] * y; s1 += A[r1 + p] * y; s2 += A[r2 + p] * y; s3 += A[r3 + p] * y;
        }
        C[t0 + j] += s0; C[t1 + j] += s1; C[t2 + j] += s2; C[t3 + j] += s3;
      }
    }
    for (; i < n; i++) {
      for (let j = 0; j < m; j++) {
        let sum = 0;
        for (let p = 0, q = b + j; p < k; p++, q += m) sum += A[a + i * k + p] * B[q];
        C[c + i * m + j] += sum;
      }
    }
  }

  function matMul([left, right]) {
    const vector = [left.shape.length === 1, right.shape.length === 1];
    const x = vector[0] ? [1, ...left.shape] : left.shape;
    const y = vector[1] ? [...right.shape, 1] : right.shape;
    const [n, k, m] = [x[x.length - 2], x[x.length - 1], y[y.length - 1]];
    const batch = joint([x.slice(0, -2), y.slice(0, -2)]);
    const out = floats([...batch, n, m]);
    const fx = map((i) => i, [counting(x.slice(0, -2)), tensor(batch, new Int32Array(size(batch)))]);
    const fy = map((i) => i, [counting(y.slice(0, -2)), tensor(batch, new Int32Array(size(batch)))]);
    for (let i = 0; i < size(batch); i++) {
      product(left.data, fx.data[i] * n * k, right.data, fy.data[i] * k * m, out.data, i * n * m, n, k, m);
    }
    if (vector[1]) out.shape.pop();
    if (vector[0]) out.shape.splice(out.shape.length - (vector[1] ? 1 : 2), 1);
    return out;
  }
  const counting = (shape) => tensor(shape, Int32Array.from({ length: size(shape) }, (_, i) => i));

  function transpose(x, order) {
    const own = strides(x.shape);
    const shape = order.map((n) => x.shape[n]);
    return walked(x, shape, order.map((n) => own[n]), 0);
  }

  // A copy of what lies at `start` and the given steps.
  function walked(x, shape, steps, start) {
    const out = tensor(shape, new x.data.constructor(size(shape)));
    const rank = shape.length;
    if (!out.data.length) return out;
    if (!rank) { out.data[0] = x.data[start]; return out; }
    const inner = shape[rank - 1], step = steps[rank - 1];
    const count = new Array(rank - 1).fill(0);
    let p = start;
    for (let at = 0; ;) {
      for (let i = 0, q = p; i < inner; i++, q += step) out.data[at + i] = x.data[q];
      at += inner;
      let n = rank - 2;
      for (; n >= 0; n--) {
        p += steps[n];
        if (++count[n] < shape[n]) break;
        p -= steps[n] * shape[n];
        count[n] = 0;
      }
      if (n < 0) return out;
    }
  }

  function slice([x, starts, ends, axes, steps]) {
    const rank = x.shape.length, own = strides(x.shape), shape = [...x.shape], step = [...own];
    let from = 0;
    list(starts).forEach((start, n) => {
      const axis = axisOf(axes ? axes.data[n] : n, rank), by = steps ? steps.data[n] : 1, length = x.shape[axis];
      const held = (i) => Math.min(Math.max(i < 0 ? i + length : i, by < 0 ? -1 : 0), by < 0 ? length - 1 : length);
      const first = held(start), end = by < 0 && ends.data[n] < -length ? -1 : held(ends.data[n]);
      shape[axis] = Math.max(0, Math.ceil((end - first) / by));
      from += first * own[axis];
      step[axis] = by * own[axis];
    });
    return walked(x, shape, step, from);
  }

  function gather([x, index], { axis = 0 }) {
    const at = axisOf(axis, x.shape.length), length = x.shape[at];
    const outer = size(x.shape.slice(0, at)), inner = size(x.shape.slice(at + 1)), num = index.data.length;
    const out = tensor([...x.shape.slice(0, at), ...index.shape, ...x.shape.slice(at + 1)], new x.data.constructor(outer * num * inner));
    for (let o = 0; o < outer; o++) {
      for (let n = 0; n < num; n++) {
        const from = (o * length + axisOf(index.data[n], length)) * inner;
        out.data.set(x.data.subarray(from, from + inner), (o * num + n) * inner);
      }
    }
    return out;
  }

  // Where each row of ScatterND's and GatherND's index begins.
  function placesOf(index, shape, before) {
    const depth = index.shape[index.shape.length - 1], own = strides(shape);
    const rows = depth ? index.data.length / depth : 0, batch = size(shape.slice(0, before)), found = new Int32Array(rows);
    for (let r = 0; r < rows; r++) {
      let at = before ? Math.floor(r / (rows / batch)) * size(shape.slice(before)) : 0;
      for (let n = 0; n < depth; n++) at += axisOf(index.data[r * depth + n], shape[before + n]) * own[before + n];
      found[r] = at;
    }
    return [found, size(shape.slice(before + depth)), depth];
  }

  function gatherND([x, index], { batch_dims: before = 0 }) {
    const [places, inner, depth] = placesOf(index, x.shape, before);
    const out = tensor([...index.shape.slice(0, -1), ...x.shape.slice(before + depth)], new x.data.constructor(places.length * inner));
    places.forEach((from, n) => out.data.set(x.data.subarray(from, from + inner), n * inner));
    return out;
  }

  const REDUCTIONS = { none: (_, b) => b, add: (a, b) => a + b, mul: (a, b) => a * b, max: Math.max, min: Math.min };

  function scatterND([x, index, updates], { reduction = 'none' }) {
    const [places, inner] = placesOf(index, x.shape, 0), out = tensor(x.shape, x.data.slice()), f = REDUCTIONS[reduction];
    places.forEach((to, n) => {
      for (let i = 0; i < inner; i++) out.data[to + i] = f(out.data[to + i], updates.data[n * inner + i]);
    });
    return out;
  }

  function alongElements(x, index, axis, act) {
    const rank = index.shape.length, at = axisOf(axis, rank), own = strides(x.shape), count = new Array(rank).fill(0);
    for (let i = 0; i < index.data.length; i++) {
      let p = 0;
      for (let n = 0; n < rank; n++) p += own[n] * (n === at ? axisOf(index.data[i], x.shape[at]) : count[n]);
      act(i, p);
      for (let n = rank - 1; n >= 0 && ++count[n] === index.shape[n]; n--) count[n] = 0;
    }
  }

  // `begin`, then `add` for every element along the axes, then `end` with their number.
  function reduce(begin, add, end) {
    return ([x, given], { axes, keepdims = 1, noop_with_empty_axes: noop = 0 }) => {
      const rank = x.shape.length;
      const asked = (given ? list(given) : axes || []).map((n) => axisOf(n, rank));
      if (!asked.length && noop) return x;
      const gone = x.shape.map((_, n) => !asked.length || asked.includes(n));
      const kept = x.shape.map((length, n) => (gone[n] ? 1 : length));
      const order = [...x.shape.keys()].sort((a, b) => gone[a] - gone[b] || a - b);
      const sorted = transpose(x, order), outer = size(kept), num = x.data.length / Math.max(outer, 1);
      const shape = keepdims ? kept : x.shape.filter((_, n) => !gone[n]);
      const out = tensor(shape, new x.data.constructor(outer));
      for (let o = 0; o < outer; o++) {
        let sum = begin;
        for (let i = 0, p = o * num; i < num; i++) sum = add(sum, sorted.data[p + i]);
        out.data[o] = end ? end(sum, num) : sum;
      }
      return out;
    };
  }

  // Runs f(values, out) on every line along an axis.
  function lines(x, axis, f) {
    const at = axisOf(axis, x.shape.length), length = x.shape[at], inner = size(x.shape.slice(at + 1));
    const out = tensor(x.shape, new x.data.constructor(x.data.length)), line = new Float64Array(length);
    for (let o = 0; o < x.data.length / Math.max(length * inner, 1); o++) {
      for (let i = 0; i < inner; i++) {
        const from = o * length * inner + i;
        for (let n = 0; n < length; n++) line[n] = x.data[from + n * inner];
        f(line);
        for (let n = 0; n < length; n++) out.data[from + n * inner] = line[n];
      }
    }
    return out;
  }

  function softmax(line) {
    let most = -Infinity, sum = 0;
    for (const value of line) most = Math.max(most, value);
    for (let n = 0; n < line.length; n++) sum += line[n] = Math.exp(line[n] - most);
    for (let n = 0; n < line.length; n++) line[n] /= sum;
  }

  // (value - mean) / sqrt(var + eps) of rows that lie side by side.
  function standardised(x, rows, epsilon, scaleAt) {
    const out = floats(x.shape), length = x.data.length / rows;
    for (let r = 0; r < rows; r++) {
      let mean = 0, square = 0;
      for (let i = r * length; i < (r + 1) * length; i++) mean += x.data[i];
      mean /= length;
      for (let i = r * length; i < (r + 1) * length; i++) square += (x.data[i] - mean) ** 2;
      const by = 1 / Math.sqrt(square / length + epsilon);
      for (let i = 0, p = r * length; i < length; i++) out.data[p + i] = scaleAt((x.data[p + i] - mean) * by, r, i);
    }
    return out;
  }

  function padded(x, before, after, mode, value) {
    const shape = x.shape.map((length, n) => length + before[n] + after[n]);
    const out = tensor(shape, new x.data.constructor(size(shape)));
    const own = strides(x.shape), rank = shape.length, count = new Array(rank).fill(0);
    for (let i = 0; i < out.data.length; i++) {
      let p = 0, within = true;
      for (let n = 0; n < rank; n++) {
        let at = count[n] - before[n];
        const last = x.shape[n] - 1;
        if (at < 0 || at > last) {
          if (mode === 'constant') within = false;
          else if (mode === 'edge') at = Math.min(Math.max(at, 0), last);
          else at = at < 0 ? -at : 2 * last - at;
        }
        p += at * own[n];
      }
      out.data[i] = within ? x.data[p] : value;
      for (let n = rank - 1; n >= 0 && ++count[n] === shape[n]; n--) count[n] = 0;
    }
    return out;
  }

  // Rows (channel, kernel place) by columns (output pixel).
  function unfolded(x, from, channels, height, width, kernel, out, stride, pads, dilation) {
    const [kh, kw] = kernel, [oh, ow] = out, found = new Float32Array(channels * kh * kw * oh * ow);
    for (let c = 0, row = 0; c < channels; c++) {
      for (let ky = 0; ky < kh; ky++) {
        for (let kx = 0; kx < kw; kx++, row++) {
          for (let y = 0; y < oh; y++) {
            const sy = y * stride[0] + ky * dilation[0] - pads[0];
            if (sy < 0 || sy >= height) continue;
            const line = from + (c * height + sy) * width, to = row * oh * ow + y * ow;
            for (let ox = 0; ox < ow; ox++) {
              const sx = ox * stride[1] + kx * dilation[1] - pads[1];
              if (sx >= 0 && sx < width) found[to + ox] = x[line + sx];
            }
          }
        }
      }
    }
    return found;
  }

  function conv([x, weight, bias], { strides: stride = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], group = 1 }) {
    const [num, , height, width] = x.shape, [out, inner, kh, kw] = weight.shape;
    const rows = Math.floor((height + pads[0] + pads[2] - dilations[0] * (kh - 1) - 1) / stride[0]) + 1;
    const columns = Math.floor((width + pads[1] + pads[3] - dilations[1] * (kw - 1) - 1) / stride[1]) + 1;
    const found = floats([num, out, rows, columns]), area = rows * columns, own = out / group;
    for (let n = 0; n < num; n++) {
      for (let g = 0; g < group; g++) {
        const from = (n * group + g) * inner * height * width;
        const pixels = unfolded(x.data, from, inner, height, width, [kh, kw], [rows, columns], stride, pads, dilations);
        const to = (n * out + g * own) * area;
        if (bias) for (let o = 0; o < own; o++) found.data.fill(bias.data[g * own + o], to + o * area, to + (o + 1) * area);
        product(weight.data, g * own * inner * kh * kw, pixels, 0, found.data, to, own, inner * kh * kw, area);
      }
    }
    return found;
  }

  function convTranspose([x, weight, bias], { strides: stride = [1, 1], pads = [0, 0, 0, 0], output_padding: more = [0, 0] }) {
    const [num, inner, height, width] = x.shape, [, out, kh, kw] = weight.shape, area = height * width;
    const rows = (height - 1) * stride[0] + kh + more[0] - pads[0] - pads[2];
    const columns = (width - 1) * stride[1] + kw + more[1] - pads[1] - pads[3];
    const found = floats([num, out, rows, columns]), turned = transpose(tensor([inner, out * kh * kw], weight.data), [1, 0]);
    for (let n = 0; n < num; n++) {
      if (bias) for (let o = 0; o < out; o++) found.data.fill(bias.data[o], (n * out + o) * rows * columns, (n * out + o + 1) * rows * columns);
      const pieces = new Float32Array(out * kh * kw * area);
      product(turned.data, 0, x.data, n * inner * area, pieces, 0, out * kh * kw, inner, area);
      for (let o = 0, piece = 0; o < out; o++) {
        for (let ky = 0; ky < kh; ky++) {
          for (let kx = 0; kx < kw; kx++) {
            for (let y = 0; y < height; y++) {
              for (let sx = 0; sx < width; sx++, piece++) {
                const r = y * stride[0] + ky - pads[0], c = sx * stride[1] + kx - pads[1];
                if (r >= 0 && r < rows && c >= 0 && c < columns) found.data[((n * out + o) * rows + r) * columns + c] += pieces[piece];
              }
            }
          }
        }
      }
    }
    return found;
  }

  function pooled(begin, add, mean) {
    return ([x], { kernel_shape: kernel, strides: stride = [1, 1], pads = [0, 0, 0, 0], count_include_pad: all = 0, ceil_mode: ceil = 0 }) => {
      const [num, channels, height, width] = x.shape, round = ceil ? Math.ceil : Math.floor;
      const rows = round((height + pads[0] + pads[2] - kernel[0]) / stride[0]) + 1;
      const columns = round((width + pads[1] + pads[3] - kernel[1]) / stride[1]) + 1;
      const out = floats([num, channels, rows, columns]);
      for (let plane = 0, to = 0; plane < num * channels; plane++) {
        for (let r = 0; r < rows; r++) {
          for (let c = 0; c < columns; c++, to++) {
            let sum = begin, count = 0;
            for (let ky = 0; ky < kernel[0]; ky++) {
              for (let kx = 0; kx < kernel[1]; kx++) {
                const y = r * stride[0] + ky - pads[0], sx = c * stride[1] + kx - pads[1];
                if (y < 0 || y >= height || sx < 0 || sx >= width) continue;
                sum = add(sum, x.data[(plane * height + y) * width + sx]);
                count++;
              }
            }
            out.data[to] = mean ? sum / (all ? kernel[0] * kernel[1] : count) : sum;
          }
        }
      }
      return out;
    };
  }

  function resize([x, , scales, sizes], { mode, coordinate_transformation_mode: how = 'half_pixel', nearest_mode: nearest = 'round_prefer_floor' }) {
    const [num, channels, height, width] = x.shape;
    const [rows, columns] = sizes ? list(sizes).slice(2) : list(scales).slice(2).map((s, n) => Math.floor(s * x.shape[2 + n]));
    const out = floats([num, channels, rows, columns]);
    const place = (i, small, large) => {
      if (how === 'align_corners') return large > 1 ? (i * (small - 1)) / (large - 1) : 0;
      if (how === 'asymmetric') return (i * small) / large;
      return how === 'pytorch_half_pixel' && large === 1 ? 0 : ((i + 0.5) * small) / large - 0.5;
    };
    if (mode !== 'linear' && !(mode === 'nearest' && (nearest === 'floor'))) throw new Error('Resize: mode ' + mode + ' (' + nearest + ') is not known');
    const held = (i, length) => Math.min(Math.max(i, 0), length - 1);
    for (let plane = 0, to = 0; plane < num * channels; plane++) {
      const at = (y, c) => x.data[(plane * height + held(y, height)) * width + held(c, width)];
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++, to++) {
          const y = place(r, height, rows), sx = place(c, width, columns), y0 = Math.floor(y), x0 = Math.floor(sx);
          if (mode === 'nearest') { out.data[to] = at(y0, x0); continue; }
          const v = held(y, height) - held(y0, height), u = held(sx, width) - held(x0, width);
          const [dv, du] = [y < 0 ? 0 : v, sx < 0 ? 0 : u];
          out.data[to] = (1 - dv) * ((1 - du) * at(y0, x0) + du * at(y0, x0 + 1)) + dv * ((1 - du) * at(y0 + 1, x0) + du * at(y0 + 1, x0 + 1));
        }
      }
    }
    return out;
  }

  function gridSample([x, grid], { mode = 'linear', padding_mode: beyond = 'zeros', align_corners: corners = 0 }) {
    if (!['linear', 'bilinear'].includes(mode) || beyond === 'reflection') throw new Error('GridSample: ' + mode + ', ' + beyond + ' is not known');
    const [num, channels, height, width] = x.shape, [, rows, columns] = grid.shape, area = rows * columns;
    const out = floats([num, channels, rows, columns]);
    const place = (g, length) => {
      const found = corners ? ((g + 1) / 2) * (length - 1) : ((g + 1) * length - 1) / 2;
      return beyond === 'border' ? Math.min(Math.max(found, 0), length - 1) : found;
    };
    for (let n = 0; n < num; n++) {
      for (let p = 0; p < area; p++) {
        const sx = place(grid.data[2 * (n * area + p)], width), sy = place(grid.data[2 * (n * area + p) + 1], height);
        const x0 = Math.floor(sx), y0 = Math.floor(sy), u = sx - x0, v = sy - y0;
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (let corner = 0; corner < 4; corner++) {
            const cx = x0 + (corner & 1), cy = y0 + (corner >> 1);
            if (cx < 0 || cy < 0 || cx >= width || cy >= height) continue;
            sum += (corner & 1 ? u : 1 - u) * (corner >> 1 ? v : 1 - v) * x.data[((n * channels + c) * height + cy) * width + cx];
          }
          out.data[(n * channels + c) * area + p] = sum;
        }
      }
    }
    return out;
  }

  function einsum(inputs, { equation }) {
    const [left, right] = equation.replace(/\s/g, '').split('->'), names = left.split(',');
    const length = {};
    names.forEach((name, n) => [...name].forEach((letter, axis) => { length[letter] = inputs[n].shape[axis]; }));
    const summed = Object.keys(length).filter((letter) => !right.includes(letter));
    const order = [...right, ...summed], shape = [...right].map((letter) => length[letter]);
    const stepped = inputs.map((x, n) => { // how far each letter moves in x
      const own = strides(x.shape);
      return order.map((letter) => [...names[n]].reduce((sum, one, axis) => sum + (one === letter ? own[axis] : 0), 0));
    });
    const out = floats(shape), rank = order.length, count = new Array(rank).fill(0), at = inputs.map(() => 0);
    const inner = summed.reduce((product, letter) => product * length[letter], 1);
    for (let o = 0; o < out.data.length; o++) {
      let sum = 0;
      for (let i = 0; i < inner; i++) {
        let term = inputs[0].data[at[0]];
        for (let n = 1; n < inputs.length; n++) term *= inputs[n].data[at[n]];
        sum += term;
        for (let n = rank - 1; n >= 0; n--) {
          const more = ++count[n] < length[order[n]];
          for (let k = 0; k < at.length; k++) at[k] += stepped[k][n] * (more ? 1 : 1 - length[order[n]]);
          if (more) break;
          count[n] = 0;
        }
      }
      out.data[o] = sum;
    }
    return out;
  }

  function erf(x) {
    const z = Math.abs(x);
    if (z > 6) return Math.sign(x);
    if (z < 2.5) { // the series
      let term = z, sum = z;
      for (let n = 1; Math.abs(term) > 1e-17 && n < 100; n++) { term *= (-z * z) / n; sum += term / (2 * n + 1); }
      return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
    }
    let fraction = 0; // the continued fraction of erfc
    for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
    return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
  }

  const KINDS = { 1: Float32Array, 6: Int32Array, 7: Int32Array, 9: Uint8Array, 10: Float32Array, 11: Float32Array };

  function cast(x, to) {
    const Kind = KINDS[to];
    if (!Kind) throw new Error('Cast: type ' + to + ' is not known');
    if (Kind === x.data.constructor) return x;
    return map(Kind === Uint8Array ? (v) => (v !== 0 ? 1 : 0) : Kind === Int32Array ? Math.trunc : (v) => v, [x], Kind);
  }

  function reshape(x, wanted) {
    const shape = wanted.map((length, n) => (length === 0 ? x.shape[n] : length));
    const open = shape.indexOf(-1);
    if (open >= 0) shape[open] = x.data.length / shape.reduce((a, b) => a * (b === -1 ? 1 : b), 1);
    return tensor(shape, x.data);
  }

  function divided(a, b) { return a / b; }

  const OPERATORS = {
    Add: each((a, b) => a + b), Sub: each((a, b) => a - b), Mul: each((a, b) => a * b),
    Div: (inputs) => map(inputs[0].data instanceof Int32Array ? (a, b) => Math.trunc(a / b) : divided, inputs),
    Pow: each((a, b) => (b === 2 ? a * a : Math.pow(a, b))), Mod: (inputs, { fmod = 0 }) => map(fmod ? (a, b) => a % b : (a, b) => a - b * Math.floor(a / b), inputs),
    Max: (inputs) => inputs.reduce((a, b) => map(Math.max, [a, b])), Min: (inputs) => inputs.reduce((a, b) => map(Math.min, [a, b])),
    Sum: (inputs) => inputs.reduce((a, b) => map((x, y) => x + y, [a, b])),
    Neg: each((a) => -a), Abs: each(Math.abs), Sqrt: each(Math.sqrt), Exp: each(Math.exp), Log: each(Math.log), Sin: each(Math.sin),
    Cos: each(Math.cos), Tanh: each(Math.tanh), Floor: each(Math.floor), Ceil: each(Math.ceil), Sign: each(Math.sign), Erf: each(erf),
    Reciprocal: each((a) => 1 / a), Relu: each((a) => (a > 0 ? a : 0)), Sigmoid: each((a) => 1 / (1 + Math.exp(-a))),
    Softplus: each((a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)))),
    LeakyRelu: ([x], { alpha = 0.01 }) => map((a) => (a > 0 ? a : alpha * a), [x]),
    Gelu: ([x], { approximate = 'none' }) => map(approximate === 'tanh'
      ? (a) => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3))) : (a) => 0.5 * a * (1 + erf(a / Math.SQRT2)), [x]),
    Clip: ([x, low, high]) => map((a, b, c) => Math.min(Math.max(a, b), c), [x, low || scalar(-Infinity), high || scalar(Infinity)]),
    Equal: each((a, b) => +(a === b), Uint8Array), Less: each((a, b) => +(a < b), Uint8Array), Greater: each((a, b) => +(a > b), Uint8Array),
    LessOrEqual: each((a, b) => +(a <= b), Uint8Array), GreaterOrEqual: each((a, b) => +(a >= b), Uint8Array),
    And: each((a, b) => a & b, Uint8Array), Or: each((a, b) => a | b, Uint8Array), Not: each((a) => 1 - a, Uint8Array),
    IsNaN: each((a) => +Number.isNaN(a), Uint8Array),
    Where: ([test, a, b]) => map((t, x, y) => (t ? x : y), [test, a, b], a.data.constructor),
    Cast: ([x], { to }) => cast(x, to), CastLike: ([x, like]) => map((v) => v, [x], like.data.constructor), Identity: ([x]) => x, Dropout: ([x]) => x,
    MatMul: matMul,
    Gemm: ([a, b, c], { alpha = 1, beta = 1, transA = 0, transB = 0 }) => {
      const x = transA ? transpose(a, [1, 0]) : a, y = transB ? transpose(b, [1, 0]) : b;
      const out = map((v) => alpha * v, [matMul([x, y])]);
      return c ? map((u, v) => u + beta * v, [out, c]) : out;
    },
    Einsum: einsum, Conv: conv, ConvTranspose: convTranspose,
    MaxPool: pooled(-Infinity, Math.max, false), AveragePool: pooled(0, (a, b) => a + b, true),
    GlobalAveragePool: ([x]) => reduce(0, (a, b) => a + b, (sum, num) => sum / num)([x], { axes: [2, 3] }),
    BatchNormalization: ([x, scale, shift, mean, variance], { epsilon = 1e-5 }) => {
      const shape = [scale.data.length, ...x.shape.slice(2).map(() => 1)];
      const by = map((s, v) => s / Math.sqrt(v + epsilon), [scale, variance]);
      const more = map((b, m, f) => b - m * f, [shift, mean, by]);
      return map((v, s, b) => v * s + b, [x, tensor(shape, by.data), tensor(shape, more.data)]);
    },
    InstanceNormalization: ([x, scale, shift], { epsilon = 1e-5 }) => {
      const channels = x.shape[1];
      return standardised(x, x.shape[0] * channels, epsilon, (v, row) => v * scale.data[row % channels] + shift.data[row % channels]);
    },
    GroupNormalization: ([x, scale, shift], { epsilon = 1e-5, num_groups: groups }) => {
      const channels = x.shape[1], area = size(x.shape.slice(2)), own = channels / groups;
      return standardised(x, x.shape[0] * groups, epsilon, (v, row, i) => {
        const channel = (row % groups) * own + Math.floor(i / area);
        return v * scale.data[channel] + shift.data[channel];
      });
    },
    LayerNormalization: ([x, scale, shift], { axis = -1, epsilon = 1e-5 }) => {
      const rows = size(x.shape.slice(0, axisOf(axis, x.shape.length)));
      return standardised(x, rows, epsilon, (v, row, i) => v * scale.data[i] + (shift ? shift.data[i] : 0));
    },
    Softmax: ([x], { axis = -1 }) => lines(x, axis, softmax),
    CumSum: ([x, axis]) => lines(x, axis.data[0], (line) => { for (let n = 1; n < line.length; n++) line[n] += line[n - 1]; }),
    ReduceSum: reduce(0, (a, b) => a + b), ReduceMean: reduce(0, (a, b) => a + b, (sum, num) => sum / num),
    ReduceMax: reduce(-Infinity, Math.max), ReduceMin: reduce(Infinity, Math.min), ReduceProd: reduce(1, (a, b) => a * b),
    ReduceL2: reduce(0, (a, b) => a + b * b, Math.sqrt), ReduceSumSquare: reduce(0, (a, b) => a + b * b),
    Reshape: ([x, shape]) => reshape(x, list(shape)), Flatten: ([x], { axis = 1 }) => reshape(x, [size(x.shape.slice(0, axis)), -1]),
    Squeeze: ([x, axes]) => {
      const gone = axes ? list(axes).map((n) => axisOf(n, x.shape.length)) : [...x.shape.keys()].filter((n) => x.shape[n] === 1);
      return tensor(x.shape.filter((_, n) => !gone.includes(n)), x.data);
    },
    Unsqueeze: ([x, axes]) => {
      const rank = x.shape.length + axes.data.length, shape = [...x.shape];
      list(axes).map((n) => axisOf(n, rank)).sort((a, b) => a - b).forEach((n) => shape.splice(n, 0, 1));
      return tensor(shape, x.data);
    },
    Transpose: ([x], { perm }) => transpose(x, perm || [...x.shape.keys()].reverse()),
    Expand: ([x, shape]) => { const wanted = joint([x.shape, list(shape)]); return walked(x, wanted, stepsIn(x, wanted), 0); },
    Tile: ([x, repeats]) => {
      const shape = x.shape.flatMap((length) => [1, length]), wide = list(repeats).flatMap((times, n) => [times, x.shape[n]]);
      const one = tensor(shape, x.data);
      return tensor(x.shape.map((length, n) => length * repeats.data[n]), walked(one, wide, stepsIn(one, wide), 0).data);
    },
    Concat: (inputs, { axis }) => {
      const at = axisOf(axis, inputs[0].shape.length), shape = [...inputs[0].shape];
      shape[at] = inputs.reduce((sum, x) => sum + x.shape[at], 0);
      const full = inputs.find((x) => x.data.length) || inputs[0];
      const out = tensor(shape, new full.data.constructor(size(shape))), outer = size(shape.slice(0, at));
      for (let o = 0, to = 0; o < outer; o++) {
        for (const x of inputs) {
          const length = x.data.length / outer;
          out.data.set(x.data.subarray(o * length, (o + 1) * length), to);
          to += length;
        }
      }
      return out;
    },
    Split: ([x, lengths], { axis = 0, num_outputs: num }) => {
      const at = axisOf(axis, x.shape.length), step = Math.ceil(x.shape[at] / num);
      const sizes = lengths ? list(lengths) : Array.from({ length: num }, (_, n) => Math.min(step, x.shape[at] - n * step));
      let from = 0;
      return sizes.map((length) => {
        const shape = x.shape.map((own, n) => (n === at ? length : own)), own = strides(x.shape);
        const part = walked(x, shape, own, from * own[at]);
        from += length;
        return part;
      });
    },
    Slice: slice, Gather: gather, GatherND: gatherND, ScatterND: scatterND,
    GatherElements: ([x, index], { axis = 0 }) => {
      const out = tensor(index.shape, new x.data.constructor(index.data.length));
      alongElements(x, index, axis, (i, p) => { out.data[i] = x.data[p]; });
      return out;
    },
    ScatterElements: ([x, index, updates], { axis = 0, reduction = 'none' }) => {
      const out = tensor(x.shape, x.data.slice()), f = REDUCTIONS[reduction];
      alongElements(x, index, axis, (i, p) => { out.data[p] = f(out.data[p], updates.data[i]); });
      return out;
    },
    Shape: ([x], { start = 0, end }) => { const part = x.shape.slice(start, end); return tensor([part.length], Int32Array.from(part)); },
    Size: ([x]) => tensor([], Int32Array.of(x.data.length)),
    ConstantOfShape: ([shape], { value }) => {
      const one = value || scalar(0), wanted = list(shape);
      return tensor(wanted, new one.data.constructor(size(wanted)).fill(one.data[0]));
    },
    Range: ([start, limit, delta]) => {
      const num = Math.max(0, Math.ceil((limit.data[0] - start.data[0]) / delta.data[0]));
      return tensor([num], start.data.constructor.from({ length: num }, (_, n) => start.data[0] + n * delta.data[0]));
    },
    Pad: ([x, pads, value, axes], { mode = 'constant' }) => {
      const rank = x.shape.length, asked = axes ? list(axes).map((n) => axisOf(n, rank)) : [...x.shape.keys()];
      const before = new Array(rank).fill(0), after = new Array(rank).fill(0);
      asked.forEach((axis, n) => { before[axis] = pads.data[n]; after[axis] = pads.data[asked.length + n]; });
      return padded(x, before, after, mode, value ? value.data[0] : 0);
    },
    Resize: resize, GridSample: gridSample,
  };

  // --- reading a model ---------------------------------------------------------------------------------

  let halves; // every half-precision number
  function fromHalf(bits) {
    if (!halves) {
      halves = new Float32Array(65536);
      for (let n = 0; n < 65536; n++) {
        const exponent = (n >> 10) & 31, fraction = n & 1023;
        const value = exponent === 31 ? (fraction ? NaN : Infinity)
          : exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14;
        halves[n] = n & 32768 ? -value : value;
      }
    }
    return Float32Array.from(bits, (n) => halves[n]);
  }

  function bytesOf(text) {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let n = 0; n < letters.length; n++) bytes[n] = letters.charCodeAt(n);
    return bytes;
  }

  const READERS = {
    f2: (buffer, at, num) => fromHalf(new Uint16Array(buffer, at, num)), f4: (buffer, at, num) => new Float32Array(buffer, at, num),
    i4: (buffer, at, num) => new Int32Array(buffer, at, num), u1: (buffer, at, num) => new Uint8Array(buffer, at, num),
  };

  function load(model) {
    const unknown = model.nodes.map(([name]) => name).filter((name) => !OPERATORS[name]);
    if (unknown.length) throw new Error('operators that this page does not know: ' + [...new Set(unknown)].join(', '));
    const buffer = bytesOf(model.values).buffer;
    const read = ([kind, shape, at]) => tensor(shape, READERS[kind](buffer, at, size(shape)));
    const constants = Object.fromEntries(Object.entries(model.constants).map(([name, where]) => [name, read(where)]));
    const nodes = model.nodes.map(([name, inputs, outputs, attributes]) => {
      const own = Object.assign({}, attributes);
      if (Array.isArray(own.value) && typeof own.value[0] === 'string') own.value = read(own.value);
      return [OPERATORS[name], inputs, outputs, own, name];
    });
    const plans = {}; // the nodes that some outputs need, by their names
    function needed(wanted) {
      const key = wanted.join();
      if (!plans[key]) {
        const asked = new Set(wanted);
        plans[key] = [...nodes].reverse().filter(([, inputs, outputs]) => {
          const used = outputs.some((one) => asked.has(one));
          if (used) inputs.forEach((one) => asked.add(one));
          return used;
        }).reverse();
      }
      return plans[key];
    }
    return {
      inputs: model.inputs, outputs: model.outputs,
      run(feeds, wanted = model.outputs) {
        const found = Object.assign(Object.create(null), constants, feeds);
        for (const [operator, inputs, outputs, attributes, name] of needed(wanted)) {
          let made;
          try {
            made = operator(inputs.map((one) => found[one]), attributes);
          } catch (error) {
            throw new Error(name + ' (' + outputs[0] + '): ' + error.message);
          }
          if (!Array.isArray(made)) found[outputs[0]] = made;
          else outputs.forEach((one, n) => { found[one] = made[n]; });
        }
        return Object.fromEntries(wanted.map((name) => [name, found[name]]));
      },
    };
  }

  globalThis.handsGraph = { load, tensor };
})();
