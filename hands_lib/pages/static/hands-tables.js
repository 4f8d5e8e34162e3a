// Filters of long tables: a choice for each named column, a search in all of them, and how many rows are left.
// Without scripts every row of the table is there.
(function () {
  'use strict';

  function labelled(text, control) {
    const label = document.createElement('label');
    label.append(text, control);
    return label;
  }

  function choice(values) {
    const select = document.createElement('select');
    for (const value of ['', ...values]) select.add(new Option(value || 'all', value));
    return select;
  }

  function offer(holder) {
    const table = holder.querySelector('table');
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies].flatMap((body) => [...body.rows].filter((row) => !row.matches('.hands-group')));
    // a value stands in a column of this name, or in the group of the row
    const valueOf = (row, name) => heads.includes(name) ? row.cells[heads.indexOf(name)].textContent.trim()
      : row.parentElement.dataset.of || '';
    const selects = holder.dataset.filters.split('|').map((name) => {
      const values = [...new Set(rows.map((row) => valueOf(row, name)))].sort();
      return { name, control: choice(values) };
    });
    const search = document.createElement('input');
    search.type = 'search';
    const count = document.createElement('output');
    count.setAttribute('aria-live', 'polite');

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        const body = row.parentElement;
        const text = (row.textContent + ' ' + (body.dataset.of || '') + ' '
          + (body.querySelector('.hands-group') || row).textContent).toLowerCase();
        const fits = selects.every((one) => !one.control.value || one.control.value === valueOf(row, one.name))
          && words.every((word) => text.includes(word));
        row.hidden = !fits;
        left += fits;
      }
      for (const body of table.tBodies) body.hidden = ![...body.rows].some((row) => !row.matches('.hands-group') && !row.hidden);
      count.textContent = left + ' of ' + rows.length + ' rows';
    }

    const bar = document.createElement('div');
    bar.className = 'hands-filters';
    bar.setAttribute('role', 'search');
    bar.setAttribute('aria-label', table.caption ? table.caption.textContent : 'table');
    bar.append(...selects.map((one) => labelled(one.name, one.control)), labelled('search', search), count);
    bar.addEventListener('input', filter);
    holder.prepend(bar);
    filter();
  }

  document.querySelectorAll('.hands-table[data-filters]').forEach(offer);
})();
