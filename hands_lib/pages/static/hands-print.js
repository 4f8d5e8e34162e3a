// Before a page is printed: light colours, whatever is folded open (but code), and what is wider than the paper smaller.
(function () {
  'use strict';
  // What fits between the margins of hands-print.css on A4 and on Letter, 665 pixels at its letters of 13.4, in the screen's of 16.
  const PAPER = 780;
  let undo = []; // what gives the page back as it was

  function set(element, name, value) {
    const before = element.style.getPropertyValue(name);
    element.style.setProperty(name, value);
    undo.push(() => (before ? element.style.setProperty(name, before) : element.style.removeProperty(name)));
  }

  // The least width that an element can have, in pixels at its present size of letters.
  function needed(element) {
    const before = element.style.width;
    element.style.width = 'min-content';
    const width = element.getBoundingClientRect().width;
    element.style.width = before;
    return width;
  }

  function shrink(element, width) {
    if (width > PAPER) set(element, 'zoom', (PAPER / width).toFixed(3));
  }

  function prepare() {
    if (undo.length) return; // two events say the same
    undo.push(() => {});
    const root = document.documentElement;
    if (root.dataset.theme === 'dark') {
      root.dataset.theme = 'light';
      undo.push(() => { root.dataset.theme = 'dark'; });
    }
    for (const fold of document.querySelectorAll('.bd-article details:not(.hide):not([open])')) {
      fold.open = true;
      undo.push(() => { fold.open = false; });
    }
    for (const table of document.querySelectorAll('.bd-article table')) shrink(table, needed(table));
    for (const formula of document.querySelectorAll('.bd-article mjx-container[display="true"]')) {
      const inner = formula.querySelector('mjx-math');
      if (inner) shrink(formula, inner.getBoundingClientRect().width + 60); // and its number
    }
  }

  function restore() {
    for (const step of undo.reverse()) step();
    undo = [];
  }

  addEventListener('beforeprint', prepare);
  addEventListener('afterprint', restore);
  matchMedia('print').addEventListener('change', (event) => (event.matches ? prepare() : restore()));
})();
