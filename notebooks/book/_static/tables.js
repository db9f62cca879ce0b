// A data frame as a page shows it: texts to the left, numbers to the right, and the name
// of the index in the same line as the names of the columns.
document.addEventListener("DOMContentLoaded", () => {
  const number = /^([-+−]?[\d.,]+ ?(%|e[-+]?\d+)?|nan|none|-?inf|true|false|)$/i;
  const text = (cell) => cell.textContent.trim();
  for (const table of document.querySelectorAll(".cell_output table.dataframe")) {
    const body = [...table.tBodies].flatMap((part) => [...part.rows]);
    if (!body.length || !table.tHead) continue;
    if (table.tHead.rows.length > 1) {
      const rows = [...table.tHead.rows].slice(-2);
      const [names, index] = rows.map((row) => [...row.cells]);
      const levels = body[0].querySelectorAll("th").length;
      // It takes the place of a name that all columns have together, if there is one.
      if (names.length === index.length && !index.slice(levels).some(text)) {
        for (let i = 0; i < levels; i++) names[i].textContent = text(index[i]);
        rows[1].remove();
      }
    }
    const head = [...table.tHead.rows].at(-1);
    if (head.cells.length !== body[0].cells.length) continue;
    if (table.querySelector("[rowspan]")) continue;
    for (let i = 0; i < head.cells.length; i++) {
      const column = body.map((row) => row.cells[i]).filter(Boolean);
      if (column.every((cell) => number.test(text(cell)))) continue;
      for (const cell of [head.cells[i], ...column]) cell.classList.add("words");
    }
  }
});
