"use strict";
const table = document.getElementById("videos");
const filter = document.getElementById("filter");
if (table) {
  document.documentElement.classList.add("scripted");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const names = new Map(rows.map((row) => [row, row.querySelector(".path").textContent.toLowerCase()]));
  const search = filter.querySelector("input");
  const status = document.getElementById("shown");
  let kind = "";
  const show = () => {
    const part = search.value.toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !names.get(row).includes(part) || (kind && !row.dataset.kind.split(" ").includes(kind));
      count += !row.hidden;
    }
    // A detail belongs to a file and its copies.
    const open = new Set(rows.filter((row) => !row.hidden).map((row) => row.dataset.detail));
    for (const detail of document.querySelectorAll("article")) detail.hidden = !open.has(detail.id);
    status.textContent = count < rows.length ? `${count} of ${rows.length} shown` : "";
  };
  filter.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    kind = button.dataset.kind;
    for (const each of filter.querySelectorAll("button")) each.setAttribute("aria-pressed", each === button);
    show();
  });
  search.addEventListener("input", show);

  // Sort key of each column. Ties keep the page's order. Names are sorted ascending first, all others descending.
  const keys = {
    verdict: (row) => -row.dataset.at,
    score: (row) => Number(row.dataset.score || -1),
    agree: (row) => row.cells[2].textContent,
    video: (row) => names.get(row),
    seen: (row) => Number(row.dataset.seen),
  };
  const heads = [...table.tHead.rows[0].cells];
  for (const head of heads) {
    const name = head.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort") ?? (name === "video" ? "descending" : "ascending");
      const down = before === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => [keys[name](row), Number(row.dataset.at), row]);
      keyed.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1) || x - y);
      body.append(...keyed.map(([, , row]) => row));
    });
  }
  heads[0].setAttribute("aria-sort", "descending");
}
