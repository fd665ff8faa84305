const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.querySelectorAll("#videos tbody tr")];
  const search = filter.querySelector("input");
  let kind = "";
  const show = () => {
    const part = search.value.toLowerCase();
    rows.forEach((row, at) => {
      const named = row.querySelector(".path").textContent.toLowerCase().includes(part);
      row.hidden = !named || (kind && !row.dataset.kind.split(" ").includes(kind));
      const detail = document.getElementById(`v${at + 1}`);
      if (detail) detail.hidden = row.hidden;
    });
  };
  filter.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    kind = button.dataset.kind;
    filter.querySelectorAll("button").forEach((each) => each.classList.toggle("chosen", each === button));
    show();
  });
  search.addEventListener("input", show);
}

// What is folded away belongs on paper too.
const folded = () => document.querySelectorAll("details");
addEventListener("beforeprint", () => folded().forEach((each) => {
  each.dataset.open = each.open;
  each.open = true;
}));
addEventListener("afterprint", () => folded().forEach((each) => {
  each.open = each.dataset.open === "true";
}));
