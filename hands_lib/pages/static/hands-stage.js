// The camera of a 3D figure: fitted to what is drawn, turned by mouse, keys and fingers, with a true scale bar.
// It draws nothing itself: `apply` hands the camera to plotly or k3d. Lengths are in the figure's own unit.
(function () {
  'use strict';
  const add = (a, b, k = 1) => a.map((x, i) => x + k * b[i]);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = (a) => { const length = Math.hypot(...a) || 1; return a.map((x) => x / length); };
  const list = (p) => [p.x, p.y, p.z];
  const STEP = Math.PI / 18; // of an arrow key
  const ROOM = 0.92; // share of the canvas that a fitted figure fills
  const FARTHEST = 12; // times the fitted size

  class Stage {
    // element: takes the keys; area(): {width, height} in px of what is drawn; points: coordinates x, y, z, x, ...;
    // views: name -> {eye, up} as plotly writes them; view: the first one; apply(camera): draws it.
    constructor(element, { unit: of, points, views, view, area, apply }) {
      Object.assign(this, { element, of, points, views, area, apply, zoomed: 1, fingers: new Map() });
      this.bar = document.createElement('div');
      this.bar.className = 'hands-scale';
      this.triad = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      this.triad.setAttribute('class', 'hands-axes');
      this.triad.setAttribute('viewBox', '-32 -32 64 64');
      this.triad.setAttribute('aria-hidden', 'true');
      element.append(this.bar, this.triad);
      this.look(view);
      this.listen();
    }

    // --- where it looks from ---
    look(name) {
      const { eye, up } = this.views[name];
      this.view = name;
      this.towards = unit(list(eye));
      this.aim(list(up));
      const [x, y] = this.extent();
      const half = (span) => (span[0] + span[1]) / 2;
      const middle = this.middle();
      const along = dot(middle, this.towards);
      this.target = add(add(this.towards.map((t) => t * along), this.right, half(x)), this.up, half(y));
      this.zoomed = 1;
      this.fit();
    }

    aim(up) { // an orthonormal frame: to the right, up, towards the viewer
      this.right = unit(cross(up, this.towards));
      this.up = cross(this.towards, this.right);
    }

    middle() {
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      this.each((p) => p.forEach((x, i) => { low[i] = Math.min(low[i], x); high[i] = Math.max(high[i], x); }));
      return add(low, high).map((x) => x / 2);
    }

    each(visit) { for (let i = 0; i < this.points.length; i += 3) visit([this.points[i], this.points[i + 1], this.points[i + 2]]); }

    extent() { // of the picture, along right and up
      const x = [Infinity, -Infinity], y = [Infinity, -Infinity];
      this.each((p) => {
        const r = dot(p, this.right), u = dot(p, this.up);
        x[0] = Math.min(x[0], r); x[1] = Math.max(x[1], r);
        y[0] = Math.min(y[0], u); y[1] = Math.max(y[1], u);
      });
      return [x, y];
    }

    fitting() { // px a unit at which everything is seen from here
      const [x, y] = this.extent();
      const r = dot(this.target, this.right), u = dot(this.target, this.up);
      const { width, height } = this.area();
      const across = Math.max(x[1] - r, r - x[0], 1e-9), high = Math.max(y[1] - u, u - y[0], 1e-9);
      return (ROOM / 2) * Math.min(width / across, height / high);
    }

    fit() { this.fitted = this.fitting(); this.paint(); }

    turn(across, down) {
      const about = (v, axis, a) => add(add(v.map((x) => x * Math.cos(a)), cross(axis, v), Math.sin(a)), axis, dot(axis, v) * (1 - Math.cos(a)));
      this.towards = unit(about(about(this.towards, this.up, -across), this.right, -down));
      this.aim(about(this.up, this.right, -down));
      this.paint();
    }

    zoom(factor) { this.zoomed = Math.min(FARTHEST, Math.max(0.3, this.zoomed * factor)); this.paint(); }

    shift(dx, dy) { this.target = add(add(this.target, this.right, -dx / this.scale), this.up, dy / this.scale); this.paint(); }

    paint() {
      // turned, it grows smaller where it would be cut off, and never larger by itself
      const whole = this.zoomed > 1 ? this.fitted : Math.min(this.fitted, this.fitting());
      this.scale = this.zoomed * whole;
      const { width, height } = this.area();
      if (!width || !height) return;
      this.apply({ target: this.target, towards: this.towards, up: this.up, scale: this.scale, width, height });
      this.measure(width);
      this.compass();
    }

    measure(width) {
      if (!this.of) { this.bar.hidden = true; return; }
      const most = Math.min(150, 0.3 * width) / this.scale;
      const ten = 10 ** Math.floor(Math.log10(most));
      const length = [5, 2, 1].find((k) => k * ten <= most) * ten;
      this.bar.style.width = `${length * this.scale}px`;
      this.bar.dataset.length = length;
      this.bar.textContent = `${Number(length.toPrecision(3))} ${this.of}`;
    }

    compass() {
      const arms = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis, i) => {
        const x = 20 * dot(axis, this.right), y = -20 * dot(axis, this.up);
        return `<line x2="${x}" y2="${y}"/><text x="${1.35 * x}" y="${1.35 * y}">${'xyz'[i]}</text>`;
      });
      this.triad.innerHTML = arms.join('');
    }

    // --- what a reader does ---
    get active() { return this.element.contains(document.activeElement); }

    listen() {
      const { element } = this;
      const keys = {
        ArrowLeft: () => this.turn(-STEP, 0), ArrowRight: () => this.turn(STEP, 0),
        ArrowUp: () => this.turn(0, -STEP), ArrowDown: () => this.turn(0, STEP),
        '+': () => this.zoom(1.2), '=': () => this.zoom(1.2), '-': () => this.zoom(1 / 1.2),
        0: () => this.look(this.view), Home: () => this.look(this.view), Escape: () => element.blur(),
      };
      element.addEventListener('keydown', (event) => {
        if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey || event.target !== element) return;
        event.preventDefault();
        keys[event.key]();
      });
      element.addEventListener('wheel', (event) => {
        event.stopPropagation(); // the library would zoom, or hold the page back
        if (!this.active) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 16 : 1) / 400));
      }, { capture: true, passive: false });
      // touches are ours: the libraries would keep the page from scrolling
      for (const kind of ['touchstart', 'touchmove', 'touchend']) {
        element.addEventListener(kind, (event) => {
          event.stopPropagation();
          if (event.touches.length > 1 && event.cancelable) event.preventDefault(); // two fingers turn, and do not scroll
        }, { capture: true, passive: false });
      }
      element.addEventListener('pointerdown', (event) => {
        if (event.button > 0) return;
        this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        this.way = 0;
        if (event.pointerType === 'mouse') element.setPointerCapture(event.pointerId);
      });
      element.addEventListener('pointermove', (event) => {
        const old = this.fingers.get(event.pointerId);
        if (!old) return;
        const before = this.spread(), dx = event.clientX - old.x, dy = event.clientY - old.y, count = this.fingers.size;
        Object.assign(old, { x: event.clientX, y: event.clientY });
        this.way += Math.hypot(dx, dy);
        if (event.pointerType === 'touch' && count === 1 && !this.active) return; // it scrolls the page
        if (count > 1) this.zoom(this.spread() / before || 1);
        if (event.shiftKey) this.shift(dx, dy);
        else this.turn(dx * 0.008 / count, dy * 0.008 / count);
      });
      for (const kind of ['pointerup', 'pointercancel']) {
        element.addEventListener(kind, (event) => {
          if (kind === 'pointerup' && this.fingers.has(event.pointerId) && this.way < 6) element.focus({ preventScroll: true });
          this.fingers.delete(event.pointerId);
        });
      }
      new ResizeObserver(() => this.fit()).observe(element);
    }

    spread() { const [a, b] = [...this.fingers.values()]; return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0; }
  }

  window.HandsStage = Stage;
})();
