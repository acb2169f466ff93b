// The table: sorted by a click on a head, within its groups or across them.
function makeSorting(data, tell) {
  const table = document.querySelector(".cells"), heads = [...table.querySelectorAll("thead button")];
  const bodies = [...table.tBodies].map(body => ({ body, heading: body.rows[0], rows: [...body.rows].slice(1) }));
  const flat = make("tbody"), state = { column: null, turned: false };
  element("sorting").hidden = false;

  function paint() {
    const { column, turned } = state, whole = column === null || element("grouped").checked;
    const order = rows => column === null ? rows : sorted(rows, data, column, turned);
    table.classList.toggle("flat", !whole);
    for (const { body, heading, rows } of bodies) if (whole) body.replaceChildren(heading, ...order(rows));
    flat.replaceChildren(...(whole ? [] : order(bodies.flatMap(({ rows }) => rows))));
    table.replaceChildren(table.tHead, ...(whole ? bodies.map(({ body }) => body) : [flat]));
    heads.forEach((head, place) => {
      const rises = (data.columns[column] || {}).better === "lower" ? !turned : turned;
      head.parentElement.setAttribute("aria-sort", place !== column ? "none" : rises ? "ascending" : "descending");
    });
  }

  heads.forEach((head, place) => {
    head.onclick = () => {
      if (state.column !== place) Object.assign(state, { column: place, turned: false });
      else if (!state.turned) state.turned = true;
      else state.column = null;
      paint();
    };
  });
  element("grouped").onchange = paint;
  tell(table, target => {
    const cell = target.closest("th, td"), column = cell ? cell.cellIndex - 1 : -1;
    if (column < 0) return null;
    const { row } = cell.parentElement.dataset, { text } = data.columns[column], heading = headed(data.columns[column]);
    return row === undefined ? [heading, text ? [text] : []] : [`${data.rows[row].name}: ${heading}`, data.rows[row].details[column]];
  });
}

// The best first, or the worst where `turned`; what is missing comes last either way.
function sorted(rows, data, column, turned) {
  const value = row => data.rows[row.dataset.row].means[column], sign = (data.columns[column].better === "lower") !== turned ? 1 : -1;
  return [...rows].sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)));
}
