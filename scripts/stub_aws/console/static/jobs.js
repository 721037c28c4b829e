// The list of training jobs: sorted by any column, filtered by name and status, kept up to date.

import { ask, jobPath, repeat } from "./api.js";
import { h, setText, show } from "./dom.js";
import { dateTime, dollars, duration, statusGlyph, statusWord } from "./format.js";

const STATUSES = ["InProgress", "Completed", "Failed", "Stopping", "Stopped"];
const COLUMNS = [
  { key: "name", title: "Name", first: "ascending" },
  { key: "status", title: "Status", first: "ascending" },
  { key: "created", title: "Created", first: "descending" },
  { key: "seconds", title: "Duration", first: "descending", numeric: true },
];
const COST = { key: "usd", title: "Cost", first: "descending", numeric: true };
// The last column where no prices are known: the seconds of all instances together.
const BILLED = { key: "billed_seconds", title: "Billed", first: "descending", numeric: true };

export const statusMark = (status, secondary) =>
  h(
    "span",
    { class: `status ${status}` },
    h("span", { class: "glyph", "aria-hidden": "true" }, statusGlyph(status)),
    h("span", { class: "word" }, statusWord(status)),
    secondary && secondary !== status ? h("span", { class: "secondary" }, secondary) : null,
  );

export async function jobsPage(main) {
  document.title = "Training jobs · Console";
  const asked = new URLSearchParams(location.search);
  const state = {
    name: asked.get("name") ?? "",
    status: asked.get("status") ?? "",
    sort: asked.get("sort") ?? "created",
    order: asked.get("order") ?? "descending",
  };
  let { jobs, priced } = await ask("jobs");
  const columns = [...COLUMNS, priced ? COST : BILLED];
  const rows = new Map();

  const nameBox = h("input", { id: "by-name", type: "search", value: state.name, placeholder: "part of a name", autocomplete: "off", spellcheck: "false", oninput: () => choose({ name: nameBox.value }) });
  const statusBox = h(
    "select",
    { id: "by-status", onchange: () => choose({ status: statusBox.value }) },
    h("option", { value: "" }, "Any status"),
    STATUSES.map((status) => h("option", { value: status, selected: status === state.status }, statusWord(status))),
  );
  const sortBox = h(
    "select",
    { id: "by-column", onchange: () => choose({ sort: sortBox.value, order: columns.find(({ key }) => key === sortBox.value).first }) },
    columns.map(({ key, title }) => h("option", { value: key, selected: key === state.sort }, title)),
  );
  const count = h("p", { class: "count", role: "status" });
  const heads = columns.map((column) =>
    h(
      "th",
      { scope: "col", class: column.numeric ? "numeric" : null },
      h("button", { type: "button", onclick: () => sortBy(column) }, column.title, h("span", { class: "arrow", "aria-hidden": "true" })),
    ),
  );
  const body = h("tbody");
  const table = h("table", { class: "jobs" }, h("caption", { class: "hidden" }, "Training jobs"), h("thead", {}, h("tr", {}, heads)), body);
  const nothing = h("div", { class: "nothing" });

  main.replaceChildren(
    h("h1", {}, "Training jobs"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { for: "by-name" }, "Name", nameBox),
      h("label", { for: "by-status" }, "Status", statusBox),
      h("label", { for: "by-column", class: "narrow" }, "Sort by", sortBox),
      count,
    ),
    table,
    nothing,
  );

  function choose(change) {
    Object.assign(state, change);
    const query = new URLSearchParams(Object.entries(state).filter(([key, value]) => value && value !== { sort: "created", order: "descending" }[key]));
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
    draw();
  }

  function sortBy(column) {
    const other = { ascending: "descending", descending: "ascending" };
    choose({ sort: column.key, order: state.sort === column.key ? other[state.order] : column.first });
    sortBox.value = column.key;
  }

  function compare(a, b) {
    const [x, y] = [a[state.sort] ?? null, b[state.sort] ?? null];
    if (x === null || y === null) return (x === null) - (y === null); // what is unknown comes last
    const sign = state.order === "ascending" ? 1 : -1;
    if (x !== y) return x < y ? -sign : sign;
    return a.name < b.name ? -1 : 1;
  }

  function row(job) {
    const cells = {
      name: h("td", { class: "name" }, h("a", { href: jobPath(job.name) }, job.name)),
      status: h("td", { "data-label": "Status" }),
      created: h("td", { "data-label": "Created" }),
      seconds: h("td", { class: "numeric", "data-label": "Duration" }),
      cost: h("td", { class: "numeric", "data-label": columns.at(-1).title }),
    };
    return { line: h("tr", {}, Object.values(cells)), cells };
  }

  function draw() {
    const wanted = state.name.trim().toLowerCase();
    const shown = jobs
      .filter((job) => job.name.toLowerCase().includes(wanted) && (!state.status || job.status === state.status))
      .sort(compare);
    const lines = shown.map((job) => {
      if (!rows.has(job.name)) rows.set(job.name, row(job));
      const { line, cells } = rows.get(job.name);
      show(cells.status, [job.status, job.secondary], ([status, secondary]) => statusMark(status, secondary));
      setText(cells.created, dateTime(job.created));
      setText(cells.seconds, duration(job.seconds));
      setText(cells.cost, priced ? dollars(job.usd) : duration(job.billed_seconds));
      cells.cost.title = job.cost;
      return line;
    });
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    if (lines.length !== body.children.length || lines.some((line, index) => body.children[index] !== line)) {
      body.replaceChildren(...lines);
      focused?.focus();
    }
    heads.forEach((head, index) => {
      if (columns[index].key === state.sort) head.setAttribute("aria-sort", state.order);
      else head.removeAttribute("aria-sort");
    });
    setText(count, shown.length === jobs.length ? `${jobs.length} jobs` : `${shown.length} of ${jobs.length} jobs`);
    table.hidden = !shown.length;
    show(nothing, [jobs.length, shown.length], () => {
      if (shown.length) return [];
      if (jobs.length) return h("p", {}, "No job fits. ", h("button", { type: "button", onclick: clear }, "Show all"));
      return h("p", {}, "No training job has been started yet. The first one appears here by itself.");
    });
  }

  function clear() {
    nameBox.value = "";
    statusBox.value = "";
    choose({ name: "", status: "" });
    nameBox.focus();
  }

  await repeat(1500, async () => {
    ({ jobs } = await ask("jobs"));
    draw();
  });
}
