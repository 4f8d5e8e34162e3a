// Draws every .hands-living of a page when it comes near the viewport: figures that compute with the book's own
// networks (hands-graph.js). Each kind is a function of its frame: what it is given, and where it may draw.
(function () {
  'use strict';

  const RIGHT = [0.835, 0.369, 0], LEFT = [0, 0.447, 0.698], SHARED = [0.98, 0.83, 0.1]; // the book's palette
  const MM = 1000;
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  const { tensor } = handsGraph;

  // --- small things ------------------------------------------------------------------------------------

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  let serial = 0;
  function labelled(text, control, value) {
    control.id = control.id || 'hands-living-' + ++serial;
    const label = element('label', { for: control.id }, text);
    return element('div', { class: 'hands-living-control' }, label, control, ...(value ? [value] : []));
  }

  // A range with its value beside it; `said` turns the number into text for eyes and ears.
  function range(text, low, high, step, start, said, changed) {
    const input = element('input', { type: 'range', min: low, max: high, step, value: start });
    const shown = element('output', {}, said(start));
    const tell = () => { shown.textContent = said(+input.value); input.setAttribute('aria-valuetext', said(+input.value)); };
    input.addEventListener('input', () => { tell(); changed(+input.value); });
    tell();
    return { row: labelled(text, input, shown), get value() { return +input.value; }, set value(v) { input.value = v; tell(); } };
  }

  function select(text, options, changed) {
    const input = element('select', { onchange: () => changed(+input.value) }, ...options.map((name, n) => element('option', { value: n }, name)));
    return { row: labelled(text, input), input, get value() { return +input.value; }, set value(v) { input.value = v; } };
  }

  // Runs the latest of many calls, once a frame.
  function once(f) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; f(); });
    };
  }

  const cssColour = (c) => 'rgb(' + c.map((v) => Math.round(255 * Math.min(Math.max(v, 0), 1))).join(' ') + ')';
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const minus = (a, b) => a.map((v, n) => v - b[n]);
  const along = (a, s, b) => a.map((v, n) => v + s * b[n]);
  const unit = (a) => a.map((v) => v / Math.hypot(...a));
  const point = (values, n) => [values[3 * n], values[3 * n + 1], values[3 * n + 2]];
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function mean(values) {
    const sum = [0, 0, 0];
    for (let n = 0; n < values.length; n++) sum[n % 3] += values[n];
    return sum.map((v) => (3 * v) / values.length);
  }

  // --- shaded surfaces ---------------------------------------------------------------------------------

  const VERTEX = 'attribute vec3 at, normal, colour; uniform mat4 view; uniform vec3 eye; varying vec3 n, c, e;' +
    'void main() { gl_Position = view * vec4(at, 1.0); n = normal; c = colour; e = eye - at; }';
  const FRAGMENT = 'precision mediump float; varying vec3 n, c, e; uniform vec3 up;' +
    'void main() { vec3 m = normalize(n), d = normalize(e); float facing = abs(dot(m, d)), sky = 0.5 + 0.5 * dot(m, up);' +
    'vec3 shade = c * (0.28 + 0.42 * facing + 0.34 * sky) + 0.12 * pow(facing, 24.0); gl_FragColor = vec4(shade, 1.0); }';

  function normalsOf(vertices, faces) {
    const found = new Float32Array(vertices.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const u = [0, 1, 2].map((n) => vertices[b + n] - vertices[a + n]), v = [0, 1, 2].map((n) => vertices[c + n] - vertices[a + n]);
      const normal = cross(u, v);
      for (const corner of [a, b, c]) for (let n = 0; n < 3; n++) found[corner + n] += normal[n];
    }
    return found;
  }

  // A canvas with a camera that turns about a centre. axes: screen right, screen up, towards the viewer.
  class Scene {
    constructor(canvas, centre, radius, axes) {
      this.canvas = canvas;
      Object.assign(this, { centre, radius, axes, turn: 0, tilt: 0, meshes: [], dirty: true });
      const gl = canvas.getContext('webgl', { antialias: true, preserveDrawingBuffer: true });
      if (!gl) throw new Error('this browser draws no WebGL');
      this.gl = gl;
      const program = gl.createProgram();
      for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      gl.useProgram(program);
      this.program = program;
      this.buffers = {};
      gl.enable(gl.DEPTH_TEST);
    }

    // Screen right, screen up and towards the viewer, after the reader's turns.
    frame() {
      const [x, y, z] = this.axes, [c, s] = [Math.cos(this.turn), Math.sin(this.turn)];
      const right = along(x.map((v) => c * v), -s, z), back = along(z.map((v) => c * v), s, x);
      const [ct, st] = [Math.cos(this.tilt), Math.sin(this.tilt)];
      return [right, along(y.map((v) => ct * v), -st, back), along(back.map((v) => ct * v), st, y)];
    }

    // Pixels of a point, and how near it is.
    project(p) {
      const [x, y, z] = this.frame(), d = minus(p, this.centre), distance = 5 * this.radius;
      const w = distance - dot(d, z), scale = (2.2 * distance) / (this.radius * w) / 4.4;
      const { clientWidth: width, clientHeight: height } = this.canvas, side = Math.min(width, height);
      return [width / 2 + dot(d, x) * scale * side, height / 2 - dot(d, y) * scale * side, w];
    }

    // How far a point near the centre moves, in metres, with a pixel.
    get metresPerPixel() { return (2 * this.radius) / Math.min(this.canvas.clientWidth, this.canvas.clientHeight); }

    // meshes: { vertices, faces, colours }; with `glow`, faces that shine through what lies before them.
    draw(meshes) {
      if (meshes) this.meshes = meshes;
      const { gl, canvas, program } = this, density = Math.min(devicePixelRatio || 1, 2);
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * density)));
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      const [x, y, z] = this.frame(), distance = 5 * this.radius, eye = along(this.centre, distance, z), side = Math.min(width, height);
      const [fx, fy] = [(5 * side) / width, (5 * side) / height], [near, far] = [distance - 3 * this.radius, distance + 3 * this.radius];
      const row = (axis, f) => [...axis.map((v) => f * v), -f * dot(axis, eye)];
      const depth = (far + near) / (far - near), shift = (2 * far * near) / (far - near), back = row(z, 1);
      const rows = [row(x, fx), row(y, fy), back.map((v, n) => -v * depth - (n === 3 ? shift : 0)), back.map((v) => -v)];
      gl.uniformMatrix4fv(gl.getUniformLocation(program, 'view'), false, [0, 1, 2, 3].flatMap((n) => rows.map((r) => r[n])));
      gl.uniform3fv(gl.getUniformLocation(program, 'eye'), eye);
      gl.uniform3fv(gl.getUniformLocation(program, 'up'), y);
      for (const mesh of this.meshes) {
        const arrays = { at: mesh.vertices, normal: normalsOf(mesh.vertices, mesh.faces), colour: mesh.colours };
        for (const [name, values] of Object.entries(arrays)) {
          this.buffers[name] = this.buffers[name] || gl.createBuffer();
          gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
          gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
          const place = gl.getAttribLocation(program, name);
          gl.enableVertexAttribArray(place);
          gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
        }
        this.buffers.faces = this.buffers.faces || gl.createBuffer();
        gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.faces);
        gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, Uint16Array.from(mesh.faces), gl.DYNAMIC_DRAW);
        if (mesh.glow) { gl.disable(gl.DEPTH_TEST); gl.enable(gl.BLEND); gl.blendFunc(gl.CONSTANT_ALPHA, gl.ONE_MINUS_CONSTANT_ALPHA); gl.blendColor(0, 0, 0, 0.8); }
        gl.drawElements(gl.TRIANGLES, mesh.faces.length, gl.UNSIGNED_SHORT, 0);
        gl.enable(gl.DEPTH_TEST);
        gl.disable(gl.BLEND);
      }
    }
  }

  function painted(num, colour) {
    const found = new Float32Array(3 * num);
    for (let n = 0; n < found.length; n++) found[n] = colour[n % 3];
    return found;
  }

  // Pointer and arrow keys. `grabs(x, y)` says whether something that can be dragged lies there; else the view turns,
  // and on a touch screen an upright stroke scrolls the page.
  function handle(canvas, { grabs, drag, turn, keys }) {
    let held = null;
    const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener('touchstart', (event) => {
      const box = canvas.getBoundingClientRect(), touch = event.touches[0];
      if (grabs && grabs(touch.clientX - box.left, touch.clientY - box.top)) event.preventDefault();
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => {
      const at = place(event);
      held = { at, act: grabs && grabs(...at) ? drag : turn };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('pointermove', (event) => {
      const at = place(event);
      if (!held) { canvas.style.cursor = grabs && grabs(...at) ? 'grab' : 'move'; return; }
      if (held.act) held.act(at[0] - held.at[0], at[1] - held.at[1]);
      held.at = at;
    });
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => { held = null; });
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener('keydown', (event) => {
      if (!steps[event.key]) return;
      event.preventDefault();
      keys(...steps[event.key]);
    });
  }

  // --- two closed surfaces -----------------------------------------------------------------------------

  function boundsOf(vertices) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (let n = 0; n < vertices.length; n++) { low[n % 3] = Math.min(low[n % 3], vertices[n]); high[n % 3] = Math.max(high[n % 3], vertices[n]); }
    return [low, high];
  }

  // Heights at which a surface is crossed above every column of a grid, and whether upwards is inwards.
  function crossings(vertices, faces, low, cell, num) {
    const columns = Array.from({ length: num * num }, () => []);
    for (let f = 0; f < faces.length; f += 3) {
      const a = point(vertices, faces[f]), b = point(vertices, faces[f + 1]), c = point(vertices, faces[f + 2]);
      const first = [0, 1].map((n) => Math.max(0, Math.ceil((Math.min(a[n], b[n], c[n]) - low[n]) / cell[n] - 0.5)));
      const last = [0, 1].map((n) => Math.min(num - 1, Math.floor((Math.max(a[n], b[n], c[n]) - low[n]) / cell[n] - 0.5)));
      const area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
      if (area === 0) continue;
      for (let i = first[0]; i <= last[0]; i++) {
        for (let j = first[1]; j <= last[1]; j++) {
          const x = low[0] + (i + 0.5) * cell[0], y = low[1] + (j + 0.5) * cell[1];
          const u = ((b[0] - x) * (c[1] - y) - (c[0] - x) * (b[1] - y)) / area, v = ((c[0] - x) * (a[1] - y) - (a[0] - x) * (c[1] - y)) / area;
          if (u < 0 || v < 0 || u + v > 1) continue;
          columns[i * num + j].push([u * a[2] + v * b[2] + (1 - u - v) * c[2], area < 0 ? 1 : -1]);
        }
      }
    }
    return columns;
  }

  // Volume inside both, cm^3: the cells, of a grid over what the boxes share, whose middle is in both surfaces.
  function sharedVolume(first, second, num = 48) {
    const [[lowA, highA], [lowB, highB]] = [boundsOf(first.vertices), boundsOf(second.vertices)];
    const low = lowA.map((v, n) => Math.max(v, lowB[n])), high = highA.map((v, n) => Math.min(v, highB[n]));
    if (low.some((v, n) => v >= high[n])) return 0;
    const cell = low.map((v, n) => (high[n] - v) / num);
    const columns = [first, second].map((mesh) => crossings(mesh.vertices, mesh.faces, low, cell, num));
    let count = 0;
    for (let n = 0; n < num * num; n++) {
      if (!columns[0][n].length || !columns[1][n].length) continue;
      const inside = columns.map((found) => {
        const sorted = found[n].sort((a, b) => a[0] - b[0]), cells = new Uint8Array(num);
        let winding = 0;
        for (let k = 0, i = 0; k < num; k++) {
          const z = low[2] + (k + 0.5) * cell[2];
          while (i < sorted.length && sorted[i][0] <= z) winding += sorted[i++][1];
          cells[k] = winding > 0 ? 1 : 0;
        }
        return cells;
      });
      for (let k = 0; k < num; k++) count += inside[0][k] & inside[1][k];
    }
    return count * cell[0] * cell[1] * cell[2] * 1e6;
  }

  function isInside(p, { vertices, faces }) {
    let winding = 0;
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const ax = vertices[a] - p[0], bx = vertices[b] - p[0], cx = vertices[c] - p[0];
      if ((ax > 0 && bx > 0 && cx > 0) || (ax < 0 && bx < 0 && cx < 0)) continue;
      const ay = vertices[a + 1] - p[1], by = vertices[b + 1] - p[1], cy = vertices[c + 1] - p[1];
      const u = bx * cy - cx * by, v = cx * ay - ax * cy, w = ax * by - bx * ay;
      if (!((u >= 0 && v >= 0 && w >= 0) || (u <= 0 && v <= 0 && w <= 0)) || u + v + w === 0) continue;
      const z = (u * vertices[a + 2] + v * vertices[b + 2] + w * vertices[c + 2]) / (u + v + w);
      if (z > p[2]) winding += u + v + w > 0 ? 1 : -1;
    }
    return winding > 0;
  }

  // --- (a) two hands that are dragged together ---------------------------------------------------------

  const REACH = 0.41, WRIST_REACH = 0.61, PADDING = 0.03; // as hands_lib/methods/intersections/loss.py
  const BASES = [1, 5, 9, 13, 17];

  function densePoints(joints) { // as points.dense_points
    const found = Array.from({ length: 21 }, (_, n) => point(joints, n));
    for (let digit = 0; digit < 5; digit++) {
      for (let bone = 0; bone < 4; bone++) {
        const end = 1 + 4 * digit + bone, from = bone ? end - 1 : 0;
        for (let step = 1; step <= 5; step++) found.push(along(found[from], step / 6, minus(found[end], found[from])));
      }
    }
    return found;
  }

  // Which of the points lie near enough to a hand to be tested, as loss._within_reach.
  function withinReach(points, joints) {
    const [low, high] = boundsOf(joints), wrist = point(joints, 0), bones = densePoints(joints);
    const palm = BASES.reduce((sum, n) => sum + Math.hypot(...minus(point(joints, n), wrist)), 0) / BASES.length;
    const near = (p, q, most) => Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]) <= most;
    const found = [];
    points.forEach((p, n) => {
      if (p.some((v, axis) => v < low[axis] - PADDING || v > high[axis] + PADDING)) return;
      if (near(p, wrist, WRIST_REACH * palm) || bones.some((q) => near(p, q, REACH * palm))) found.push(n);
    });
    return found;
  }

  function dragFigure(frame) {
    const { data, models } = frame, hands = models.hands, step = models.step;
    const faces = [0, 1].map((side) => Int32Array.from(data.faces[side]));
    const lower = data.lower, upper = data.upper;
    const [canvases, scenes] = [[], []];
    let pair, offset = [0, 0, 0], axes, running = 0, before = null;

    const fixed = () => ({
      rotation: tensor([2, 3, 3], Float32Array.from(pair.rotation)), palm: tensor([2, 5, 2], Float32Array.from(pair.palm)),
      lengths: tensor([2, 5, 4], Float32Array.from(pair.lengths)),
    });
    const placed = () => {
      const unknowns = Float32Array.from(pair.unknowns);
      [-1, 1, 1].forEach((sign, n) => { unknowns[51 + n] += sign * offset[n]; });
      return unknowns;
    };

    // Everything that is known of a pair: surfaces, shared volume, the loss and where it would go.
    function look(unknowns, start, slope) {
      const posed = hands.run({ unknowns: tensor([2, 51], unknowns), ...fixed() });
      const num = posed.vertices.shape[1] * 3;
      const meshes = [0, 1].map((side) => ({ vertices: posed.vertices.data.slice(side * num, (side + 1) * num), faces: faces[side] }));
      const joints = [0, 1].map((side) => posed.joints.data.slice(63 * side, 63 * side + 63));
      const tested = [withinReach(densePoints(joints[1]), joints[0]), withinReach(densePoints(joints[0]), joints[1])];
      const found = { meshes, joints, unknowns, volume: sharedVolume(...meshes), loss: 0 };
      const most = data.tested, wanted = slope ? ['loss', 'gradient'] : ['loss'];
      for (let from = 0; from < Math.max(tested[0].length, tested[1].length); from += most) {
        const asked = {};
        ['left', 'right'].forEach((name, n) => { // a graph has one size: what is left over counts nothing
          const own = tested[n].slice(from, from + most);
          asked[name] = tensor([most], Int32Array.from({ length: most }, (_, i) => own[i] || 0));
          asked[name + '_counts'] = tensor([most], Float32Array.from({ length: most }, (_, i) => +(i < own.length)));
        });
        const made = step.run({
          unknowns: tensor([2, 51], unknowns), ...fixed(), start: tensor([2, 51], start),
          hold: tensor([], Float32Array.of(from ? 0 : data.hold)), ...asked,
        }, wanted);
        found.loss += made.loss.data[0];
        if (slope) found.gradient = found.gradient ? found.gradient.map((v, i) => v + made.gradient.data[i]) : made.gradient.data;
      }
      return found;
    }

    function show(n, found) {
      const glowing = [];
      const solid = found.meshes.map((mesh, side) => {
        const num = mesh.vertices.length / 3;
        if (found.volume > 0) {
          const other = found.meshes[1 - side], [low, high] = boundsOf(other.vertices), within = new Uint8Array(num);
          for (let v = 0; v < num; v++) {
            const p = point(mesh.vertices, v);
            if (p.every((x, axis) => x > low[axis] && x < high[axis]) && isInside(p, other)) within[v] = 1;
          }
          const faces = [];
          for (let f = 0; f < mesh.faces.length; f += 3) {
            const corners = mesh.faces.slice(f, f + 3);
            if (corners.filter((v) => within[v]).length > 1) faces.push(...corners);
          }
          if (faces.length) glowing.push({ vertices: mesh.vertices, faces, colours: painted(num, SHARED.map((v) => 1.6 * v)), glow: true });
        }
        return { ...mesh, colours: painted(num, side ? LEFT : RIGHT) };
      });
      scenes[n].draw([...solid, ...glowing]);
    }

    const cells = {};
    function numbers() {
      const row = (name, key, unitText) => {
        cells[key] = [0, 1].map(() => element('td', {}, '–'));
        return element('tr', {}, element('th', { scope: 'row' }, name + ' (' + unitText + ')'), ...cells[key]);
      };
      return element('table', { class: 'hands-living-numbers' },
        element('thead', {}, element('tr', {}, element('td'), element('th', { scope: 'col' }, 'as you placed them'), element('th', { scope: 'col' }, 'after the steps'))),
        element('tbody', {}, row('shared volume', 'volume', 'cm³'), row('intersection loss', 'loss', 'no unit'), row('joints moved by', 'moved', 'mm')));
    }

    function moved(found) {
      let sum = 0;
      for (let side = 0; side < 2; side++) for (let n = 0; n < 21; n++) sum += Math.hypot(...minus(point(found.joints[side], n), point(before.joints[side], n)));
      return (MM * sum) / 42;
    }

    function tell(n, found) {
      cells.volume[n].textContent = found.volume.toFixed(2);
      cells.loss[n].textContent = found.loss.toFixed(2);
      cells.moved[n].textContent = n ? moved(found).toFixed(1) : '0.0';
      frame.element.dataset[n ? 'after' : 'before'] = JSON.stringify([found.volume, found.loss]);
      if (!n) frame.element.dataset.unknowns = JSON.stringify([...found.unknowns]);
    }

    const ranges = [];
    const update = once(() => {
      const began = performance.now();
      const start = placed();
      before = look(start, start, false);
      show(0, before);
      tell(0, before);
      frame.answered(began);
      descend(start);
    });

    // Gradient steps with momentum, as Adam's; every unknown has a length of step of its own kind.
    function descend(start) {
      const own = ++running, unknowns = start.slice(), first = new Float64Array(102), second = new Float64Array(102);
      let found = before, number = 0;
      const rate = (i) => (i % 51 < 3 ? 0.0008 : i % 51 < 6 ? 0.008 : 0.025);
      frame.element.dataset.settled = 'false';
      const finish = () => {
        show(1, found); tell(1, found);
        frame.element.dataset.settled = 'true';
        frame.say(before.volume > 0 || before.loss > 0.05
          ? 'The hands share ' + before.volume.toFixed(2) + ' cubic centimetres, loss ' + before.loss.toFixed(2) + '. After ' + number + ' steps they share ' +
            found.volume.toFixed(2) + ', and joints have moved by ' + moved(found).toFixed(1) + ' millimetres.'
          : 'The hands share no space.');
      };
      const next = () => {
        if (own !== running) return;
        if (number >= data.steps || found.loss < 0.01) { finish(); return; }
        if (!found.gradient) found = look(unknowns.slice(), start, true);
        number++;
        const fade = 1 - number / (data.steps + 1);
        for (let i = 0; i < 102; i++) {
          const g = found.gradient[i];
          first[i] = 0.8 * first[i] + 0.2 * g;
          second[i] = 0.95 * second[i] + 0.05 * g * g;
          const mean = first[i] / (1 - 0.8 ** number), size = Math.sqrt(second[i] / (1 - 0.95 ** number));
          unknowns[i] -= (rate(i) * (0.25 + 0.75 * fade) * mean) / (size + 0.02);
          const angle = (i % 51) - 6;
          if (angle >= 0) unknowns[i] = Math.min(Math.max(unknowns[i], Math.min(lower[angle], start[i])), Math.max(upper[angle], start[i]));
        }
        found = look(unknowns.slice(), start, true);
        if (!still.matches) { show(1, found); tell(1, found); }
        setTimeout(next, 0);
      };
      show(1, found); tell(1, found);
      setTimeout(next, 0);
    }

    function choose(number) {
      pair = data.pairs[number];
      offset = [0, 0, 0];
      const posed = look(placed(), placed(), false);
      const centres = posed.meshes.map((mesh) => mean(mesh.vertices)), middle = along(centres[0].map((v) => v / 2), 0.5, centres[1]);
      const up = unit(posed.joints.reduce((sum, joints) => along(sum, 1, minus(point(joints, 9), point(joints, 0))), [0, 0, 0]));
      let x = minus(centres[0], centres[1]);
      x = unit(along(x, -dot(x, up), up)); // the right hand at the right, as with one's own hands
      axes = [x, up, cross(x, up)];
      const radius = Math.max(...posed.meshes.flatMap((mesh) => boundsOf(mesh.vertices)).map((corner) => Math.hypot(...minus(corner, middle)))) * 0.85;
      canvases.forEach((canvas, n) => {
        const turn = scenes[n] ? [scenes[n].turn, scenes[n].tilt] : [0, 0];
        scenes[n] = scenes[n] || new Scene(canvas, middle, radius, axes);
        Object.assign(scenes[n], { centre: middle, radius, axes, turn: turn[0], tilt: turn[1] });
      });
      offset = axes[0].map((v) => v * pair.start);
      place();
    }

    function place() {
      ranges.forEach((one, n) => { one.value = Math.round(MM * dot(offset, axes[n])); });
      update();
    }

    const turnBoth = (dx, dy) => {
      for (const scene of scenes) { scene.turn -= dx; scene.tilt = Math.min(Math.max(scene.tilt + dy, -1.4), 1.4); scene.draw(); }
      view.value = Math.round(((((scenes[0].turn * 180) / Math.PI + 180) % 360) + 360) % 360) - 180;
    };
    const millimetres = (v) => (v > 0 ? '+' : v < 0 ? '−' : '') + Math.abs(v) + ' mm';
    ['Move left or right', 'Move up or down', 'Move to or from you'].forEach((name, n) => {
      ranges.push(range(name, -60, 60, 1, 0, millimetres, (value) => {
        offset = along(offset, value / MM - dot(offset, axes[n]), axes[n]);
        update();
      }));
    });
    const view = range('Turn the view', -180, 180, 5, 0, (v) => v + '°', (value) => {
      for (const scene of scenes) { scene.turn = (value * Math.PI) / 180; scene.draw(); }
    });
    const pairs = select('Pair of hands', data.pairs.map((one) => one.name), choose);

    ['Your pair', 'After steps down the loss'].forEach((name, n) => {
      const canvas = element('canvas', {
        tabindex: 0, role: 'img', 'aria-label': name + (n ? '. Arrow keys turn the view.' : '. Drag the blue left hand; arrow keys move it.'),
      });
      canvases.push(canvas);
      frame.stage.append(element('div', { class: 'hands-living-panel' }, element('p', {}, name), canvas));
    });
    const grabs = (x, y) => {
      if (!before) return false;
      const near = [Infinity, Infinity], depth = [Infinity, Infinity];
      before.meshes.forEach((mesh, side) => {
        for (let v = 0; v < mesh.vertices.length; v += 6) {
          const [px, py, w] = scenes[0].project([mesh.vertices[v], mesh.vertices[v + 1], mesh.vertices[v + 2]]);
          const d = Math.hypot(px - x, py - y);
          near[side] = Math.min(near[side], d);
          if (d < 9 && w < depth[side]) depth[side] = w;
        }
      });
      return near[1] < 12 && depth[1] <= depth[0];
    };
    handle(canvases[0], {
      grabs,
      drag: (dx, dy) => {
        const [x, y] = scenes[0].frame(), by = scenes[0].metresPerPixel;
        const wanted = along(along(offset, dx * by, x), -dy * by, y);
        offset = axes.reduce((sum, axis) => along(sum, Math.min(Math.max(dot(wanted, axis), -0.06), 0.06), axis), [0, 0, 0]);
        place();
      },
      turn: (dx) => turnBoth(dx / 120, 0),
      keys: (dx, dy) => {
        offset = along(along(offset, dx * 0.002, axes[0]), -dy * 0.002, axes[1]);
        place();
      },
    });
    handle(canvases[1], { turn: (dx, dy) => turnBoth(dx / 120, 0), keys: (dx, dy) => turnBoth(dx * 0.09, dy * 0.09) });
    frame.controls.append(pairs.row, ...ranges.map((one) => one.row), view.row,
      element('button', { type: 'button', onclick: () => choose(pairs.value) }, 'Start again'));
    frame.numbers.append(numbers());
    frame.redraw = () => scenes.forEach((scene) => scene.draw());
    choose(0);
  }

  // --- (b) what a query point may look at --------------------------------------------------------------

  const PLACES = [['q', 'the point itself', '#E69F00'], ['p', 'the nearest vertex', '#56B4E9'], ['p′', 'the same vertex of the other hand', '#CC79A7']];
  const TERMS = ['φ: where it is', 'k(q): its pixel', 'm(p): nearest vertex', 'n(p′): other hand', 'mean of right hand', 'mean of left hand'];

  function lookFigure(frame) {
    const { data, models } = frame, side = data.size, num = data.vertices.length / 6, views = data.views.length;
    const faces = [0, 1].map((hand) => Int32Array.from(data.faces[hand]));
    const vertices = Float32Array.from(data.vertices), pictures = bytes(data.images), labels = bytes(data.labels), seen = bytes(data.seen), pointSeen = bytes(data.pointSeen);
    const observed = new Map();
    let camera = 0, chosen = data.first, scene;
    const centre = mean(vertices), [low, high] = boundsOf(vertices), radius = Math.hypot(...minus(high, low)) / 2;

    function observation(n) {
      if (!observed.has(n)) {
        const area = side * side, image = new Float32Array(3 * area), silhouettes = new Uint8Array(2 * area);
        for (let i = 0; i < 3 * area; i++) image[i] = pictures[n * 3 * area + i] / 255;
        for (let i = 0; i < area; i++) { const hand = labels[n * area + i]; if (hand) silhouettes[(hand - 1) * area + i] = 1; }
        const made = models.observe.run({ image: tensor([1, side, side, 3], image), silhouettes: tensor([1, 2, side, side], silhouettes) });
        observed.set(n, { image: tensor([1, side, side, 3], image), ...made });
      }
      return observed.get(n);
    }

    function ask() {
      const made = observation(camera), view = data.views[camera], one = data.points[chosen];
      return models.ask.run({
        point: tensor([1, 3], Float32Array.from(one.at)), vertex: tensor([1], Int32Array.of(one.vertex)),
        visible: tensor([1], Uint8Array.of(pointSeen[camera * data.points.length + chosen])),
        vertex_visible: tensor([1, 2 * num], seen.slice(camera * 2 * num, (camera + 1) * 2 * num)),
        image: made.image, texture: made.texture, averages: made.averages,
        intrinsics: tensor([1, 3, 3], Float32Array.from(view.intrinsics)), camera_from_world: tensor([1, 4, 4], Float32Array.from(view.pose)),
        vertices: tensor([1, 2, num, 3], vertices), joints: tensor([1, 2, 21, 3], Float32Array.from(data.joints)),
      });
    }

    const picture = element('canvas', { role: 'img', 'aria-label': 'The input picture with the three places that the point asks.' });
    const space = element('canvas', { tabindex: 0, role: 'img', 'aria-label': 'Both hands in space. Surfaces that the camera sees are bright. Arrow keys turn the view; a click chooses the nearest point.' });
    const marks = element('canvas', { class: 'hands-living-over', 'aria-hidden': 'true' });
    frame.stage.append(
      element('div', { class: 'hands-living-panel' }, element('p', {}, 'What the camera gives'), picture),
      element('div', { class: 'hands-living-panel' }, element('p', {}, 'The hands, and what the camera sees of them'), element('div', { class: 'hands-living-stack' }, space, marks)));
    const bars = TERMS.map((name) => {
      const fill = element('span', { class: 'hands-living-fill' }), value = element('span', { class: 'hands-living-value' });
      return { fill, value, row: element('div', { class: 'hands-living-bar' }, element('span', {}, name), element('span', { class: 'hands-living-track' }, fill), value) };
    });
    const swatches = ['colour by the field', 'true colour'].map((name) => ({ patch: element('span', { class: 'hands-living-swatch' }), name }));
    const state = element('p', { class: 'hands-living-state' });
    frame.numbers.append(state,
      element('div', { class: 'hands-living-bars' }, element('p', {}, 'Weight of each term, 0 to 1. Striped: the camera does not see that place.'), ...bars.map((bar) => bar.row)),
      element('p', { class: 'hands-living-swatches' }, ...swatches.flatMap(({ patch, name }) => [element('span', {}, patch, ' ' + name)])));

    function sized(canvas) {
      const density = Math.min(devicePixelRatio || 1, 2), [width, height] = [canvas.clientWidth, canvas.clientHeight];
      canvas.width = Math.round(width * density); canvas.height = Math.round(height * density);
      const pen = canvas.getContext('2d');
      pen.scale(density, density);
      return [pen, width, height];
    }

    // A mark is filled where the camera sees the place, hollow where something hides it.
    function mark(pen, x, y, n, visible, place) {
      const colour = PLACES[n][2];
      pen.beginPath();
      if (n === 0) pen.arc(x, y, 7, 0, 7);
      else if (n === 1) pen.rect(x - 6, y - 6, 12, 12);
      else { pen.moveTo(x, y - 9); pen.lineTo(x + 9, y); pen.lineTo(x, y + 9); pen.lineTo(x - 9, y); pen.closePath(); }
      pen.lineWidth = 5; pen.strokeStyle = '#000'; pen.stroke();
      if (visible) { pen.fillStyle = colour; pen.fill(); }
      pen.lineWidth = 2.5; pen.strokeStyle = visible ? '#fff' : colour; pen.stroke();
      pen.font = '600 15px system-ui, sans-serif'; pen.textAlign = 'center';
      pen.lineWidth = 4; pen.strokeStyle = '#000'; pen.strokeText(PLACES[n][0], x + place[0], y + place[1]);
      pen.fillStyle = '#fff'; pen.fillText(PLACES[n][0], x + place[0], y + place[1]);
    }
    const BESIDE = [[-16, -6], [16, 18], [18, -6]];

    function drawPicture(pixels, visible) {
      const [pen, width] = sized(picture), small = document.createElement('canvas');
      small.width = small.height = side;
      const image = new ImageData(side, side);
      for (let i = 0; i < side * side; i++) { for (let c = 0; c < 3; c++) image.data[4 * i + c] = pictures[(camera * side * side + i) * 3 + c]; image.data[4 * i + 3] = 255; }
      small.getContext('2d').putImageData(image, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(small, 0, 0, width, width);
      [2, 1, 0].forEach((n) => mark(pen, ((pixels[2 * n] + 0.5) * width) / side, ((pixels[2 * n + 1] + 0.5) * width) / side, n, visible[n], BESIDE[n]));
    }

    function places() {
      const { at, vertex } = data.points[chosen];
      return [at, point(vertices, vertex), point(vertices, (vertex + num) % (2 * num))];
    }

    function drawSpace(visible) {
      scene.draw([0, 1].map((hand) => {
        const colours = painted(num, hand ? LEFT : RIGHT);
        for (let v = 0; v < num; v++) if (!seen[camera * 2 * num + hand * num + v]) for (let c = 0; c < 3; c++) colours[3 * v + c] = 0.25 * colours[3 * v + c] + 0.12;
        return { vertices: vertices.slice(3 * num * hand, 3 * num * (hand + 1)), faces: faces[hand], colours };
      }));
      const [pen] = sized(marks), view = data.views[camera], towards = unit(minus(view.centre, centre));
      const text = getComputedStyle(frame.element).color;
      const at = scene.project(along(centre, 0.98 * radius, towards)), middle = scene.project(along(centre, 0.7 * radius, towards));
      pen.strokeStyle = pen.fillStyle = text; pen.lineWidth = 2;
      pen.beginPath(); pen.moveTo(at[0], at[1]); pen.lineTo(middle[0], middle[1]); pen.stroke();
      pen.beginPath(); pen.arc(at[0], at[1], 6, 0, 7); pen.fill();
      pen.font = '14px system-ui, sans-serif'; pen.textAlign = at[0] > space.clientWidth / 2 ? 'right' : 'left';
      pen.fillText('camera', at[0] + (at[0] > space.clientWidth / 2 ? -10 : 10), at[1] - 8);
      places().forEach((p, n) => { const [x, y] = scene.project(p); mark(pen, x, y, n, visible[n], BESIDE[n]); });
    }

    const update = once(() => {
      const began = performance.now(), made = ask(), one = data.points[chosen];
      const visible = [pointSeen[camera * data.points.length + chosen], seen[camera * 2 * num + one.vertex], seen[camera * 2 * num + ((one.vertex + num) % (2 * num))]];
      drawPicture(made.pixels.data, visible);
      drawSpace(visible);
      made.weights.data.forEach((weight, n) => {
        bars[n].fill.style.width = 100 * weight + '%';
        bars[n].fill.classList.toggle('is-hidden', n >= 1 && n <= 3 && !visible[n - 1]);
        bars[n].value.textContent = weight.toFixed(2);
      });
      swatches[0].patch.style.backgroundColor = cssColour([...made.colour.data]);
      swatches[1].patch.style.backgroundColor = cssColour(one.colour);
      const most = [...made.weights.data].indexOf(Math.max(...made.weights.data));
      const words = PLACES.map(([name], n) => name + ' is ' + (visible[n] ? 'seen' : 'hidden')).join(', ') + '. The largest weight: ' + TERMS[most] + '.';
      state.textContent = words;
      frame.element.dataset.weights = JSON.stringify([...made.weights.data]);
      frame.element.dataset.colour = JSON.stringify([...made.colour.data]);
      frame.answered(began);
      frame.say('Camera at ' + Math.round((360 * camera) / views) + ' degrees. ' + words);
    });

    const turn = range('Move the camera', 0, views - 1, 1, 0, (v) => Math.round((360 * v) / views) + '°', (v) => { camera = v; update(); });
    const joints = select('Query point', data.points.map((one) => one.name), (n) => { chosen = n; update(); });
    const spin = range('Turn the view', -180, 180, 5, 0, (v) => v + '°', (v) => { scene.turn = (v * Math.PI) / 180; update(); });
    joints.value = chosen;
    frame.controls.append(turn.row, joints.row, spin.row);
    const up = [0, 1, 0], first = unit(minus(data.views[0].centre, centre)), back = unit(along(first, -dot(first, up), up));
    scene = new Scene(space, centre, radius * 1.02, [cross(up, back), up, back]);
    scene.tilt = 0.25;
    scene.turn = (-60 * Math.PI) / 180; // beside the camera: one sees what it sees, and what it does not
    spin.value = -60;
    const turned = (dx, dy) => {
      scene.turn -= dx; scene.tilt = Math.min(Math.max(scene.tilt + dy, -1.4), 1.4);
      spin.value = Math.round(((((scene.turn * 180) / Math.PI + 180) % 360) + 360) % 360) - 180;
      update();
    };
    let travelled = 0;
    handle(space, { turn: (dx) => { travelled += Math.abs(dx); turned(dx / 120, 0); }, keys: (dx, dy) => turned(dx * 0.09, dy * 0.09) });
    space.addEventListener('pointerdown', () => { travelled = 0; });
    space.addEventListener('click', (event) => {
      if (travelled > 4) return;
      const box = space.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let best = Infinity;
      data.points.forEach((one, n) => {
        const [px, py, w] = scene.project(one.at), d = Math.hypot(px - x, py - y) + 400 * (w / (5 * radius) - 1);
        if (d < best) { best = d; chosen = n; }
      });
      joints.value = chosen;
      update();
    });
    frame.redraw = update;
    update();
  }

  // --- (c) refinement on a picture of the reader's choice ----------------------------------------------

  const BONES = [0, 1, 2, 3, 4].flatMap((digit) => [0, 1, 2, 3].map((bone) => [bone ? 4 * digit + bone : 0, 4 * digit + bone + 1]));
  const STAGES = ['initial estimate', 'first refinement', 'second refinement', 'third refinement'];

  function stagesFigure(frame) {
    const { data, models } = frame, side = data.size, stages = data.stages, pictures = bytes(data.images), num = data.names.length;
    const faces = [0, 1].map((hand) => data.faces[hand]);
    let image = null, truth = null, own = null, found = null;

    const canvases = Array.from({ length: stages }, (_, n) => {
      const canvas = element('canvas', { role: 'img', 'aria-label': 'The picture with the ' + STAGES[n] + ' drawn over it.' });
      frame.stage.append(element('div', { class: 'hands-living-panel' }, element('p', {}, STAGES[n]), canvas));
      return canvas;
    });

    function drawn(canvas, stage) {
      const density = Math.min(devicePixelRatio || 1, 2), width = canvas.clientWidth;
      canvas.width = canvas.height = Math.round(width * density);
      const pen = canvas.getContext('2d'), small = document.createElement('canvas'), pixels = new ImageData(side, side);
      pen.scale(density, density);
      small.width = small.height = side;
      for (let i = 0; i < side * side; i++) { for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 255 * image[c * side * side + i]; pixels.data[4 * i + 3] = 255; }
      small.getContext('2d').putImageData(pixels, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(small, 0, 0, width, width);
      if (!found) return;
      const at = (uv) => ((uv + 1) / 2) * width;
      if (drawing.value !== 1) {
        const [, , count] = found.vertices.shape, triangles = [];
        for (let hand = 0; hand < 2; hand++) {
          const from = (stage * 2 + hand) * count, depth = hand ? -found.offset.data[3 * stage + 2] : 0;
          for (let f = 0; f < faces[hand].length; f += 3) {
            const corners = [0, 1, 2].map((n) => from + faces[hand][f + n]), [a, b, c] = corners.map((v) => point(found.vertices.data, v));
            const normal = cross(minus(b, a), minus(c, a)), length = Math.hypot(...normal) || 1;
            if (normal[2] < 0) triangles.push([depth + (a[2] + b[2] + c[2]) / 3, corners, 0.35 + (0.65 * -normal[2]) / length, hand]);
          }
        }
        triangles.sort((a, b) => b[0] - a[0]);
        pen.globalAlpha = 1;
        const layer = document.createElement('canvas');
        layer.width = layer.height = canvas.width;
        const brush = layer.getContext('2d');
        brush.scale(density, density);
        for (const [, corners, shade, hand] of triangles) {
          brush.beginPath();
          corners.forEach((v, n) => brush[n ? 'lineTo' : 'moveTo'](at(found.vertices_uv.data[2 * v]), at(found.vertices_uv.data[2 * v + 1])));
          brush.closePath();
          brush.fillStyle = brush.strokeStyle = cssColour((hand ? LEFT : RIGHT).map((c) => shade * c + 0.12 * shade));
          brush.fill(); brush.lineWidth = 0.7; brush.stroke();
        }
        pen.globalAlpha = 0.82;
        pen.drawImage(layer, 0, 0, width, width);
        pen.globalAlpha = 1;
      } else {
        for (let hand = 0; hand < 2; hand++) {
          const joint = (n) => [0, 1].map((axis) => at(found.joints_uv.data[((stage * 2 + hand) * 21 + n) * 2 + axis]));
          for (const [width2, colour] of [[6, '#000'], [3.5, cssColour(hand ? LEFT.map((c) => c + 0.15) : RIGHT)]]) {
            pen.strokeStyle = colour; pen.lineWidth = width2; pen.lineCap = 'round';
            for (const [a, b] of BONES) { pen.beginPath(); pen.moveTo(...joint(a)); pen.lineTo(...joint(b)); pen.stroke(); }
          }
        }
      }
      if (truth) {
        for (let n = 0; n < 42; n++) {
          pen.beginPath(); pen.arc(at(truth.uv[2 * n]), at(truth.uv[2 * n + 1]), 2.6, 0, 7);
          pen.fillStyle = '#fff'; pen.fill(); pen.lineWidth = 1; pen.strokeStyle = '#000'; pen.stroke();
        }
      }
    }

    // Mean distance of the joints after the wrists are aligned and the palm's length is the true one.
    function error(stage) {
      let sum = 0;
      for (let hand = 0; hand < 2; hand++) {
        const from = (stage * 2 + hand) * 21, palm = (values, n) => Math.hypot(...minus(point(values, n + 9), point(values, n)));
        const scale = palm(truth.joints, 21 * hand) / palm(found.joints.data, from);
        const wrist = [point(found.joints.data, from), point(truth.joints, 21 * hand)];
        for (let n = 0; n < 21; n++) {
          const moved = minus(point(found.joints.data, from + n), wrist[0]).map((v) => scale * v);
          sum += Math.hypot(...minus(moved, minus(point(truth.joints, 21 * hand + n), wrist[1])));
        }
      }
      return (MM * sum) / 42;
    }

    function step(stage) { // how far joints went in the picture since the stage before, pixels
      let sum = 0;
      for (let n = 0; n < 42; n++) {
        const a = (stage * 42 + n) * 2, b = a - 84;
        sum += Math.hypot(found.joints_uv.data[a] - found.joints_uv.data[b], found.joints_uv.data[a + 1] - found.joints_uv.data[b + 1]);
      }
      return (sum / 42) * (side / 2);
    }

    const rows = { error: element('tr'), step: element('tr') };
    frame.numbers.append(element('table', { class: 'hands-living-numbers' },
      element('thead', {}, element('tr', {}, element('td'), ...STAGES.slice(0, stages).map((name) => element('th', { scope: 'col' }, name)))),
      element('tbody', {}, rows.error, rows.step)));

    const update = once(() => {
      const began = performance.now();
      found = models.stages.run({ image: tensor([1, 3, side, side], image) });
      const numbers = Array.from({ length: stages }, (_, n) => n);
      rows.error.replaceChildren(element('th', { scope: 'row' }, 'joint error (mm)'), ...numbers.map((n) => element('td', {}, truth ? error(n).toFixed(1) : 'no truth')));
      rows.step.replaceChildren(element('th', { scope: 'row' }, 'joints moved (pixels)'), ...numbers.map((n) => element('td', {}, n ? step(n).toFixed(2) : '–')));
      canvases.forEach(drawn);
      frame.element.dataset.joints = JSON.stringify([...found.joints.data]);
      frame.answered(began);
      frame.say(truth ? 'Mean error of the joints: ' + numbers.map((n) => STAGES[n] + ' ' + error(n).toFixed(1)).join(', ') + ' millimetres.'
        : 'Your picture: joints moved by ' + numbers.slice(1).map((n) => step(n).toFixed(2)).join(' and ') + ' pixels.');
    });

    function generated(n) {
      own = null;
      const area = side * side;
      image = new Float32Array(3 * area);
      for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) image[c * area + i] = pictures[(n * area + i) * 3 + c] / 255;
      truth = { uv: data.truth_uv.slice(84 * n, 84 * n + 84), joints: data.truth_joints.slice(126 * n, 126 * n + 126) };
      crop.hidden = true;
      update();
    }

    // The square of the reader's picture that the ranges choose, made small; it stays in this page.
    function cropped() {
      if (!own) return;
      const length = (Math.min(own.width, own.height) * parts[0].value) / 100, area = side * side;
      const x = ((own.width - length) * parts[1].value) / 100, y = ((own.height - length) * parts[2].value) / 100;
      let from = own, box = [x, y, length, length], now = Math.floor(length);
      const canvas = document.createElement('canvas'), pen = canvas.getContext('2d', { willReadFrequently: true });
      while (now > 2 * side) { // by halves, so that no detail turns into noise
        const half = document.createElement('canvas');
        now = Math.ceil(now / 2);
        half.width = half.height = now;
        half.getContext('2d').drawImage(from, ...box, 0, 0, now, now);
        [from, box] = [half, [0, 0, now, now]];
      }
      canvas.width = canvas.height = side;
      pen.drawImage(from, ...box, 0, 0, side, side);
      const pixels = pen.getImageData(0, 0, side, side).data;
      image = new Float32Array(3 * area);
      for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) image[c * area + i] = pixels[4 * i + c] / 255;
      truth = null;
      update();
    }

    const choices = select('Picture', [...data.names, 'your own picture'], (n) => {
      if (n < num) generated(n);
      else file.click();
    });
    const complaint = element('span', { role: 'alert' });
    const file = element('input', {
      type: 'file', accept: 'image/*', onchange: async () => {
        if (!file.files.length) return;
        complaint.textContent = '';
        try {
          own = await createImageBitmap(file.files[0]);
        } catch {
          complaint.textContent = 'This file is no picture that the browser can read: choose a JPEG or PNG file.';
          return;
        }
        choices.value = num;
        crop.hidden = false;
        cropped();
      },
    });
    const percent = (v) => v + ' %';
    const parts = [range('Size of the square', 10, 100, 1, 100, percent, cropped), range('From left to right', 0, 100, 1, 50, percent, cropped), range('From top to bottom', 0, 100, 1, 50, percent, cropped)];
    const crop = element('div', { class: 'hands-living-crop' }, ...parts.map((one) => one.row));
    const drawing = select('Draw', ['surfaces', 'skeletons'], () => canvases.forEach(drawn));
    frame.controls.append(choices.row, labelled('Your own picture (it stays in this page)', file), drawing.row, crop, complaint);
    frame.stage.before(frame.controls); // what to choose stands above what it changes
    frame.redraw = () => canvases.forEach(drawn);
    choices.value = num >> 1;
    generated(num >> 1);
  }

  // --- the frame of all of them ------------------------------------------------------------------------

  const KINDS = { drag: dragFigure, look: lookFigure, stages: stagesFigure };

  class Frame {
    constructor(own, given, started) {
      Object.assign(this, { element: own, data: given.data, started });
      this.models = Object.fromEntries(Object.entries(given.models).map(([name, model]) => [name, handsGraph.load(model)]));
      this.stage = element('div', { class: 'hands-living-stage' });
      this.controls = element('div', { class: 'hands-living-controls', role: 'group', 'aria-label': 'Controls of this figure' });
      this.numbers = element('div', { class: 'hands-living-results' });
      this.told = element('p', { class: 'hands-living-told', role: 'status', 'aria-live': 'polite' });
      this.redraw = () => {};
      const [title, todo] = [own.dataset.title, own.dataset.todo];
      this.holder = element('div', { class: 'hands-living-live' },
        element('p', { class: 'hands-living-title' }, title), element('p', { class: 'hands-living-todo' }, todo), this.stage, this.controls, this.numbers, this.told);
    }

    // A sentence for screen readers, at most every second and a half, the latest one.
    say(text) {
      clearTimeout(this.speech);
      this.speech = setTimeout(() => { this.told.textContent = text; }, 1500);
    }

    // What tests and curious readers may look at: how long the first and the latest answer took.
    answered(began) {
      const now = performance.now();
      this.element.dataset.last = (now - began).toFixed(1);
      if (this.element.dataset.first) return;
      this.element.dataset.first = (now - this.started).toFixed(1);
      this.element.dataset.drawn = 'true';
    }
  }

  function payload(own) {
    const inline = own.querySelector('script[type="application/json"]');
    if (inline) return Promise.resolve(JSON.parse(inline.textContent));
    return new Promise((done, failed) => { // a script and not a request: it works from a folder as well
      globalThis.handsLiving = globalThis.handsLiving || {};
      const name = own.dataset.payload.replace(/.*\//, '').replace('.js', '');
      const script = element('script', { src: own.dataset.payload });
      script.onload = () => { const found = globalThis.handsLiving[name]; delete globalThis.handsLiving[name]; done(JSON.parse(found)); };
      script.onerror = () => failed(new Error('its data could not be loaded'));
      document.head.append(script);
    });
  }

  async function begin(own) {
    const started = performance.now(), picture = own.querySelector('.hands-living-still');
    try {
      const frame = new Frame(own, await payload(own), started);
      own.append(frame.holder);
      own.classList.add('is-live');
      KINDS[own.dataset.kind](frame);
      new ResizeObserver(once(() => frame.redraw())).observe(frame.stage);
      new MutationObserver(() => frame.redraw()).observe(document.documentElement, { attributeFilter: ['data-theme'] });
    } catch (error) {
      own.querySelector('.hands-living-live')?.remove();
      own.classList.remove('is-live');
      own.dataset.drawn = 'failed';
      picture.after(element('p', {}, 'This figure cannot run here (' + error.message + '); the picture shows how it begins.'));
      console.error(error);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      begin(entry.target);
    }
  }, { rootMargin: '200px' });
  document.querySelectorAll('.hands-living').forEach((own) => near.observe(own));
  globalThis.handsShared = { sharedVolume }; // looked at by tests
})();
