// Draws every .hands-figure of a page when it comes near the viewport, in the colours of the page's theme.
(function () {
  'use strict';
  const base = new URL('.', document.currentScript.src).href;
  const loading = {};
  let queue = Promise.resolve();

  // One library at a time: k3d is a named AMD module and needs `define` while it loads, which plotly must not see.
  function load(name, before, after) {
    if (!loading[name]) {
      loading[name] = queue = queue.then(() => new Promise((done, failed) => {
        const script = document.createElement('script');
        if (before) before();
        script.onload = () => { if (after) after(); done(); };
        script.onerror = () => failed(new Error(name + ' could not be loaded'));
        script.src = base + name;
        document.head.append(script);
      }));
    }
    return loading[name];
  }

  function themed(template) {
    const css = getComputedStyle(document.documentElement);
    const value = (name, other) => css.getPropertyValue(name).trim() || other;
    const text = value('--pst-color-text-base', '#222832');
    const line = value('--pst-color-border', '#c9c9c9');
    const surface = value('--pst-color-surface', '#f3f4f5');
    const clear = 'rgba(0,0,0,0)';
    const own = (template && template.layout) || {};
    const axis = (name, more) => Object.assign({}, own[name], { gridcolor: line, zerolinecolor: line, linecolor: line }, more);
    const scene = own.scene || {};
    const axis3 = (name) => Object.assign({}, scene[name], {
      backgroundcolor: clear, gridcolor: line, zerolinecolor: line, linecolor: line, color: text });
    return Object.assign({}, template, { layout: Object.assign({}, own, {
      paper_bgcolor: clear, plot_bgcolor: clear,
      font: Object.assign({}, own.font, { color: text }),
      xaxis: axis('xaxis'), yaxis: axis('yaxis'),
      scene: Object.assign({}, scene, { bgcolor: clear, xaxis: axis3('xaxis'), yaxis: axis3('yaxis'), zaxis: axis3('zaxis') }),
      legend: Object.assign({}, own.legend, { bgcolor: clear }),
      modebar: { bgcolor: clear, color: text, activecolor: value('--pst-color-primary', '#0a7d91') },
      updatemenudefaults: Object.assign({}, own.updatemenudefaults, { bgcolor: surface, bordercolor: line, font: { color: text } }),
      sliderdefaults: Object.assign({}, own.sliderdefaults, { bgcolor: line, bordercolor: line, font: { color: text } }),
      annotationdefaults: Object.assign({}, own.annotationdefaults, { arrowcolor: text }),
    }) });
  }

  const redraw = new Set(); // functions that give a drawn figure the colours of the present theme
  let makeK3d;
  const draw = {
    async plotly(element, figure) {
      await load('plotly.min.js');
      const layout = Object.assign({}, figure.layout, { template: themed((figure.layout || {}).template) });
      const config = Object.assign({ responsive: true, displaylogo: false }, figure.config);
      await Plotly.newPlot(element, figure.data, layout, config);
      if (figure.frames) await Plotly.addFrames(element, figure.frames);
      redraw.add(() => Plotly.relayout(element, { template: themed((figure.layout || {}).template) }));
    },
    async k3d(element, figure) {
      await load('standalone.js',
        () => { window.define = (name, needs, make) => { makeK3d = make(); }; window.define.amd = true; },
        () => { delete window.define; });
      element.style.position = 'relative';
      const bytes = Uint8Array.from(atob(figure.snapshot), (letter) => letter.charCodeAt(0));
      await new makeK3d.CreateK3DAndLoadBinarySnapshot(bytes.buffer, element);
    },
  };

  async function show(element) {
    const figure = JSON.parse(element.querySelector('script').textContent);
    element.replaceChildren();
    try {
      await draw[element.dataset.kind](element, figure);
      element.dataset.drawn = 'true';
    } catch (error) {
      element.dataset.drawn = 'failed';
      element.textContent = 'This figure could not be drawn: ' + error.message;
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
})();
