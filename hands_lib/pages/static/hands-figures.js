// Draws every .hands-figure of a page when it comes near the viewport, in the colours of the page's theme. Title,
// legend and controls are HTML: they wrap on a phone, and keyboard and screen reader reach them.
(function () {
  'use strict';
  const base = new URL('.', document.currentScript.src).href;
  const loading = {};
  let queue = Promise.resolve();

  // One library at a time: k3d is a named AMD module and needs `define` while it loads, which plotly must not see.
  function load(name, take) {
    if (!loading[name]) {
      loading[name] = queue = queue.then(() => new Promise((done, failed) => {
        const script = document.createElement('script');
        const taken = take();
        script.onload = () => done(taken());
        script.onerror = () => failed(new Error(name + ' could not be loaded'));
        script.src = base + name;
        document.head.append(script);
      }));
    }
    return loading[name];
  }
  const plotlyFrom = (name) => load(name, () => () => { const own = window.Plotly; delete window.Plotly; return own; });
  const k3dFrom = (name) => load(name, () => {
    let made;
    window.define = (id, needs, make) => { made = make(); };
    window.define.amd = true;
    return () => { delete window.define; return made; };
  });

  function make(tag, given = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // --- colours ---
  const css = (name, other) => getComputedStyle(document.documentElement).getPropertyValue(name).trim() || other;
  const textColour = () => css('--pst-color-text-base', '#222832');
  const CLEAR = 'rgba(0,0,0,0)';

  function themed(template) {
    const text = textColour(), line = css('--pst-color-border', '#c9c9c9');
    const own = (template && template.layout) || {}, scene = own.scene || {};
    const axis = (name) => ({ ...own[name], gridcolor: line, zerolinecolor: line, linecolor: line });
    const axis3 = (name) => ({ ...scene[name], backgroundcolor: CLEAR, gridcolor: line, zerolinecolor: line, linecolor: line, color: text });
    return { ...template, layout: { ...own,
      paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, font: { ...own.font, color: text },
      xaxis: axis('xaxis'), yaxis: axis('yaxis'),
      scene: { ...scene, bgcolor: CLEAR, xaxis: axis3('xaxis'), yaxis: axis3('yaxis'), zaxis: axis3('zaxis') },
      annotationdefaults: { ...own.annotationdefaults, arrowcolor: text },
      shapedefaults: { ...own.shapedefaults, line: { color: text } },
    }, data: { ...(template || {}).data, bar: [{ error_x: { color: text }, error_y: { color: text } }] } };
  }

  // --- numbers as plotly stores them ---
  const TYPES = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array, i1: Int8Array, u1: Uint8Array };
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const numbers = (array) => (array && array.bdata ? new TYPES[array.dtype](bytesOf(array.bdata).buffer) : array || []);

  // Up to some thousand points that a figure draws at any time, for its camera.
  function pointsOf(figure) {
    const points = [];
    const traces = [...figure.data, ...(figure.frames || []).flatMap((frame) => frame.data)];
    for (const trace of traces) {
      const [x, y, z] = [trace.x, trace.y, trace.z].map(numbers);
      const outermost = new Set();
      for (const axis of [x, y, z]) { // none that lies farthest out is left out
        let low = 0, high = 0;
        for (let i = 0; i < axis.length; i++) { if (axis[i] < axis[low]) low = i; if (axis[i] > axis[high]) high = i; }
        outermost.add(low).add(high);
      }
      const every = Math.max(1, Math.floor(x.length / 800));
      for (let i = 0; i < x.length; i++) {
        if (i % every && !outermost.has(i)) continue;
        if (Number.isFinite(x[i] + y[i] + z[i]) && x[i] !== null) points.push(x[i], y[i], z[i]);
      }
    }
    return points;
  }

  // --- HTML around the drawing ---
  const plain = (text) => (text || '').replace(/<br\s*\/?>/g, ' ').replace(/<[^>]*>/g, '');

  function mostCommon(values) {
    const counts = new Map();
    for (const value of values || []) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  }

  function swatch(trace, index, layout) {
    const colourway = layout.colorway || ['#0072B2'];
    const first = (value) => (Array.isArray(value) ? value[0] : value);
    const marker = trace.marker || {}, line = trace.line || {};
    const scale = Array.isArray(trace.colorscale) && trace.colorscale[trace.colorscale.length - 1][1];
    const own = ['mesh3d', 'isosurface', 'cone'].includes(trace.type)
      ? mostCommon(trace.vertexcolor) || trace.color || scale : null;
    const colour = first(own || line.color || marker.color) || colourway[index % colourway.length];
    const mode = trace.mode || '';
    const dash = { dot: '2 3', dash: '6 3', dashdot: '6 3 2 3', longdash: '9 3' }[line.dash] || 'none';
    const parts = [];
    if (mode.includes('lines') || trace.type === 'contour') parts.push(`<path d="M1 7H27" stroke-width="3" stroke-dasharray="${dash}"/>`);
    if (mode.includes('markers')) {
      const symbol = String(first(marker.symbol) || 'circle').split('-')[0];
      parts.push({ square: '<rect x="9" y="2" width="10" height="10" fill="currentColor"/>',
        diamond: '<path d="M14 1L20 7L14 13L8 7Z" fill="currentColor"/>',
        x: '<path d="M10 3L18 11M18 3L10 11" stroke-width="3"/>',
      }[symbol] || '<circle cx="14" cy="7" r="5" fill="currentColor"/>');
    }
    if (!parts.length) parts.push('<rect x="4" y="1" width="20" height="12" rx="2" fill="currentColor"/>');
    const shape = first((marker.pattern || {}).shape);
    if (shape) parts.push('<path d="M6 12L14 2M13 12L21 2" stroke="#fff" stroke-width="1.5"/>');
    const holder = make('span', { class: 'hands-swatch', 'aria-hidden': 'true' });
    holder.innerHTML = `<svg viewBox="0 0 28 14" width="28" height="14" fill="none" stroke="currentColor" stroke-width="0">${parts.join('')}</svg>`;
    holder.style.color = colour;
    return holder;
  }

  // One button an entry of the legend: pressed where its traces are shown.
  function drawLegend(holder, Plotly, plot, figure) {
    const entries = new Map();
    plot._fullData.forEach((trace, i) => {
      const given = figure.data[i] || {};
      const wanted = given.showlegend ?? !['heatmap', 'image'].includes(trace.type);
      if (trace.visible === false || !given.name) return;
      const key = given.legendgroup || given.name;
      const entry = entries.get(key) || { traces: [], listed: false };
      entry.traces.push(i);
      if (wanted && !entry.listed) Object.assign(entry, { listed: true, name: given.name, first: i });
      entries.set(key, entry);
    });
    const listed = [...entries.values()].filter((entry) => entry.listed);
    const alone = listed.length === 1 && figure.data.filter((trace) => trace.showlegend).length !== 1;
    holder.replaceChildren();
    if (alone || (figure.layout || {}).showlegend === false) return;
    for (const entry of listed) {
      const shown = () => plot._fullData[entry.first].visible === true;
      const button = make('button', { type: 'button', 'aria-pressed': shown() },
        swatch(plot._fullData[entry.first], entry.first, plot._fullLayout), plain(entry.name));
      button.addEventListener('click', async () => {
        await Plotly.restyle(plot, { visible: shown() ? 'legendonly' : true }, entry.traces);
        button.setAttribute('aria-pressed', shown());
      });
      holder.append(make('li', {}, button));
    }
  }

  // plotly's menus and sliders as {label, steps, active, kind, play}
  function controlsOf(layout) {
    const found = [];
    let play = null;
    for (const menu of layout.updatemenus || []) {
      const steps = menu.buttons || [];
      const start = steps.find((step) => step.method === 'animate' && (step.args || [])[0] === null);
      if (start) { play = start.args[1] || {}; continue; }
      found.push({ label: menu.name || 'Show', steps, active: menu.active || 0, kind: 'select' });
    }
    for (const slider of layout.sliders || []) {
      const prefix = ((slider.currentvalue || {}).prefix || '').replace(/[\s:=]+$/, '');
      found.push({ label: prefix || slider.name || 'Step', steps: slider.steps || [], active: slider.active || 0, kind: 'range', play });
    }
    return found;
  }

  // A native control. `run(step)` shows it and returns a promise; the latest wish wins.
  function controlElement(control, run) {
    const { steps } = control;
    let wish = null, busy = null;
    const choose = (at) => {
      control.active = wish = at;
      busy = busy || (async () => { while (wish !== null) { const next = wish; wish = null; await run(steps[next]); } })()
        .finally(() => { busy = null; });
      return busy;
    };
    if (control.kind === 'select') {
      const input = make('select', {}, ...steps.map((step, i) => new Option(plain(step.label), i, false, i === control.active)));
      input.addEventListener('change', () => choose(input.selectedIndex));
      return [make('label', {}, make('span', {}, control.label), input)];
    }
    const input = make('input', { type: 'range', min: 0, max: steps.length - 1, step: 1, value: control.active });
    const output = make('output', {});
    const say = () => {
      output.textContent = plain(steps[input.value].label);
      input.setAttribute('aria-valuetext', output.textContent);
    };
    input.addEventListener('input', () => { say(); choose(Number(input.value)); });
    say();
    const parts = [make('label', { class: 'hands-range' }, make('span', {}, control.label), input, output)];
    if (control.play) {
      const button = make('button', { type: 'button' }, 'Play');
      let playing = false;
      const pause = () => { playing = false; button.textContent = 'Play'; };
      const wait = Math.max(60, (control.play.frame || {}).duration || 0);
      button.addEventListener('click', async () => {
        if (playing) return pause();
        playing = true;
        button.textContent = 'Pause';
        if (Number(input.value) === steps.length - 1) input.value = -1; // from the start again
        for (let at = Number(input.value) + (control.active === steps.length - 1 ? 0 : 1); playing && at < steps.length; at++) {
          input.value = at;
          say();
          await choose(at);
          await new Promise((done) => setTimeout(done, wait));
        }
        pause();
      });
      input.addEventListener('pointerdown', pause);
      input.addEventListener('keydown', pause);
      parts.unshift(button);
    }
    return parts;
  }

  function stageControls(stage) {
    const views = make('select', {}, ...Object.keys(stage.views).map((name) => new Option(name, name, false, name === stage.view)));
    views.addEventListener('change', () => stage.look(views.value));
    const button = (words, text, act) => {
      const made = make('button', { type: 'button', 'aria-label': words, title: words }, text);
      made.addEventListener('click', act);
      return made;
    };
    return [make('label', {}, make('span', {}, 'View'), views),
      make('span', { class: 'hands-zoom' }, button('Zoom in', '+', () => stage.zoom(1.25)), button('Zoom out', '\u2212', () => stage.zoom(0.8)),
        button('Reset the view', 'Reset', () => stage.look(stage.view)))];
  }

  const FIRST = 'first view';
  const MOUSE = 'Drag to turn. Click, then the wheel zooms. ';
  const FINGERS = 'Two fingers turn and zoom it. Tap it, then one finger turns it too. ';
  const HINT = 'Arrow keys turn, plus and minus zoom, 0 resets, Escape leaves.';
  let count = 0;

  function frameOf(element, solid) {
    const id = `hands-hint-${count += 1}`;
    const canvas = make('div', { class: 'hands-canvas' });
    const parts = { title: make('p', { class: 'hands-title' }), legend: make('ul', { class: 'hands-legend' }), canvas,
      plot: make('div', { class: 'hands-plot' }), controls: make('div', { class: 'hands-controls' }), hint: null };
    canvas.append(parts.plot);
    if (solid) {
      canvas.classList.add('hands-solid');
      for (const [name, value] of Object.entries({ tabindex: 0, role: 'application', 'aria-label': element.getAttribute('aria-label'), 'aria-describedby': id })) {
        canvas.setAttribute(name, value);
      }
      parts.hint = make('p', { class: 'hands-hint', id });
      parts.hint.append(make('span', {}, matchMedia('(pointer: coarse)').matches ? FINGERS : MOUSE), make('span', {}, HINT));
    }
    const live = make('div', { class: 'hands-live' }, parts.title, parts.legend, canvas, parts.controls, ...(parts.hint ? [parts.hint] : []));
    element.prepend(live);
    return parts;
  }

  // --- the two libraries ---
  const redraw = new Set(); // functions that give a drawn figure the colours of the present theme

  function layoutOf(figure) {
    const given = figure.layout || {};
    const layout = { ...given, template: themed(given.template), showlegend: false, autosize: true, title: { text: '' } };
    for (const name of ['sliders', 'updatemenus', 'height', 'width']) delete layout[name];
    const margin = { ...given.margin };
    const top = (given.annotations || []).some((note) => note.yref === 'paper' && note.y >= 0.99);
    margin.t = top ? Math.max(28, Math.min(margin.t ?? 28, 40)) : 12;
    if (given.sliders || given.updatemenus) margin.b = Math.min(margin.b ?? 10, 40);
    layout.margin = margin;
    if (given.scene) {
      const bare = (given.meta || {}).unit ? { visible: false, showspikes: false } : { showspikes: false };
      const axis = (name) => ({ ...given.scene[name], ...bare });
      layout.margin = { ...margin, l: 0, r: 0, t: 0, b: 0 };
      layout.scene = { ...given.scene, xaxis: axis('xaxis'), yaxis: axis('yaxis'), zaxis: axis('zaxis'), dragmode: false, aspectmode: 'manual',
        aspectratio: { x: 1, y: 1, z: 1 }, camera: { ...(given.scene.camera || {}), projection: { type: 'orthographic' } } };
    } else if (matchMedia('(pointer: coarse)').matches) {
      layout.dragmode = false; // a finger scrolls the page
    }
    return layout;
  }

  const draw = {
    async plotly(element, figure) {
      const Plotly = await plotlyFrom(element.dataset.library);
      const given = figure.layout || {}, solid = Boolean(given.scene), meta = given.meta || {};
      const parts = frameOf(element, solid), { plot } = parts;
      const title = (text) => { parts.title.textContent = plain(text); };
      title(typeof given.title === 'string' ? given.title : (given.title || {}).text);
      const controls = controlsOf(given);
      const height = (given.height || 450) - (given.sliders ? 90 : 0) - (given.title ? 20 : 0);
      parts.canvas.style.setProperty('--hands-height', `${height}px`);
      const config = { ...figure.config, displayModeBar: false, displaylogo: false, responsive: false, scrollZoom: false };
      const layout = layoutOf(figure);
      const columns = new Set(Object.entries(given).filter(([k]) => /^xaxis\d*$/.test(k)).map(([, axis]) => (axis.domain || [0])[0])).size;
      const cells = figure.data.filter((trace) => trace.type === 'heatmap' && trace.texttemplate).map((trace) => 160 + 46 * numbers(trace.x).length);
      const least = Math.max(columns > 1 ? 230 * columns : 0, ...cells);
      if (least) { // on a phone it scrolls in itself, from the keyboard too
        plot.style.minWidth = `${least}px`;
        for (const [name, value] of Object.entries({ tabindex: 0, role: 'group', 'aria-label': element.getAttribute('aria-label') })) {
          parts.canvas.setAttribute(name, value);
        }
      }
      const sizeOf = () => `${plot.clientWidth} ${plot.clientHeight}`;
      let drawn = sizeOf();
      await Plotly.newPlot(plot, figure.data, layout, config);
      const shaped = () => { // pictures keep their shape, without bands above and below them
        const { xaxis: x, yaxis: y, _size: room } = plot._fullLayout;
        if (solid || !figure.data.every((trace) => trace.type === 'image') || columns > 1 || !room) return;
        const ratio = Math.abs((y.range[1] - y.range[0]) / (x.range[1] - x.range[0]));
        const wanted = Math.min(height, Math.round(ratio * (plot.clientWidth - room.l - room.r) + room.t + room.b));
        parts.canvas.style.setProperty('--hands-height', `${wanted}px`);
      };
      shaped();
      if (figure.frames) await Plotly.addFrames(plot, figure.frames);

      let stage = null;
      if (solid) {
        const axes = () => ['xaxis', 'yaxis', 'zaxis'].map((name) => plot._fullLayout.scene[name].range);
        const as = ([x, y, z]) => ({ x, y, z });
        const points = pointsOf(figure);
        const first = { eye: { x: 1.25, y: 1.25, z: 1.25 }, up: { x: 0, y: 0, z: 1 }, ...given.scene.camera };
        const known = meta.views && meta.views[meta.view];
        const same = known && ['x', 'y', 'z'].every((k) => known.eye[k] === first.eye[k]);
        stage = new window.HandsStage(parts.canvas, {
          unit: meta.unit, points, view: same ? meta.view : FIRST,
          views: { ...(same ? {} : { [FIRST]: first }), ...meta.views },
          area: () => { const { scene, width, height: high } = plot._fullLayout; // what a colour bar leaves
            return { width: width * (scene.domain.x[1] - scene.domain.x[0]) - plot._fullLayout._size.l - plot._fullLayout._size.r, height: high }; },
          apply: ({ target, towards, up, scale, height: high }) => {
            const { scene } = plot._fullLayout, size = scale / (high / 2), ranges = axes();
            const middle = ranges.map(([low, top]) => (low + top) / 2);
            const center = target.map((x, i) => size * (x - middle[i]));
            const far = 1 + size * Math.max(...ranges.map(([low, top]) => top - low));
            const camera = { center: as(center), eye: as(center.map((x, i) => x + far * towards[i])), up: as(up), projection: { type: 'orthographic' } };
            const aspectratio = as(ranges.map(([low, top]) => size * (top - low)));
            for (const own of [plot.layout.scene, scene]) Object.assign(own, { camera, aspectratio, aspectmode: 'manual' });
            scene._scene.setViewport({ camera, aspectratio });
          },
        });
        element.stage = stage;
        parts.controls.append(...stageControls(stage));
      }
      const refresh = () => drawLegend(parts.legend, Plotly, plot, figure);
      const run = async (step) => {
        const args = JSON.parse(JSON.stringify(step.args || []));
        const changes = step.method === 'update' ? args[1] : step.method === 'relayout' ? args[0] : null;
        if (changes) for (const name of ['title.text', 'title']) {
          if (name in changes) { title(changes[name].text ?? changes[name]); delete changes[name]; }
        }
        if (step.method !== 'skip') await Plotly[step.method](plot, ...args);
        if (stage) stage.paint();
        if (step.method !== 'animate') refresh();
      };
      for (const control of controls) parts.controls.append(...controlElement(control, run));
      refresh();
      new ResizeObserver(async () => {
        const size = sizeOf();
        if (size === drawn) return; // it is told at once, too
        drawn = size;
        await Plotly.Plots.resize(plot);
        shaped();
        if (stage) stage.fit();
      }).observe(plot);
      redraw.add(() => Plotly.relayout(plot, { template: themed(given.template) }).then(() => { if (stage) stage.paint(); }));
    },

    async k3d(element, figure) {
      const k3d = await k3dFrom('standalone.js');
      const parts = frameOf(element, true), meta = figure.meta || {};
      parts.title.textContent = plain(figure.title);
      parts.canvas.style.setProperty('--hands-height', `${figure.height || 450}px`);
      const instance = await new k3d.CreateK3DAndLoadBinarySnapshot(bytesOf(figure.snapshot).buffer, parts.plot);
      const world = instance.getWorld();
      world.controls.enabled = false; // the stage turns it
      const box = instance.getSceneBoundingBox();
      const [low, high] = meta.bounds || [box.min, box.max].map((p) => [p.x, p.y, p.z]);
      const points = [];
      for (let corner = 0; corner < 8; corner++) for (let i = 0; i < 3; i++) points.push(corner & (1 << i) ? high[i] : low[i]);
      const angle = 3; // degrees; so narrow that near and far are as good as alike
      instance.setCameraFOV(angle);
      const stage = new window.HandsStage(parts.canvas, {
        unit: meta.unit, points, view: meta.view || FIRST,
        views: meta.views || { [FIRST]: { eye: { x: 1, y: 1, z: 1 }, up: { x: 0, y: 0, z: 1 } } },
        area: () => ({ width: parts.plot.clientWidth, height: parts.plot.clientHeight }),
        apply: ({ target, towards, up, scale, height }) => {
          const far = height / 2 / scale / Math.tan(angle * Math.PI / 360);
          instance.setCamera([...target.map((x, i) => x + far * towards[i]), ...target, ...up]);
          instance.render();
        },
      });
      element.stage = stage;
      parts.controls.append(...stageControls(stage));
      for (const level of meta.levels || []) {
        const object = Object.values(world.ObjectsListJson).find((one) => one.name === level.object);
        const run = async ({ value }) => { object[level.attribute] = value; await instance.reload(object, { [level.attribute]: value }); };
        parts.controls.append(...controlElement({ ...level, kind: 'range' }, run));
      }
    },
  };

  async function show(element) {
    const figure = JSON.parse(element.querySelector('script[type="application/json"]').textContent);
    try {
      await draw[element.dataset.kind](element, figure);
      element.dataset.drawn = 'true';
    } catch (error) {
      element.querySelectorAll('.hands-live').forEach((live) => live.remove());
      element.dataset.drawn = 'failed'; // the still picture stays
      console.error(error);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      show(entry.target);
    }
  }, { rootMargin: '400px' });
  document.querySelectorAll('.hands-figure').forEach((element) => near.observe(element));
  new MutationObserver(() => redraw.forEach((paint) => paint()))
    .observe(document.documentElement, { attributeFilter: ['data-theme'] });
  window.showHandsFigure = show; // for the build, which takes the pictures of paper and of pages without scripts
})();
