// Chooses the page by the address.

import { base, Refusal, tell } from "./api.js";
import { h } from "./dom.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";
import { objectsPage } from "./objects.js";

const main = document.getElementById("main");
const [section, ...rest] = location.pathname.slice(base.length).split("/").map(decodeURIComponent);

async function open() {
  const here = section === "objects" ? "objects" : "jobs";
  document.querySelector(`[data-section="${here}"]`).setAttribute("aria-current", "page");
  if (section === "objects") return objectsPage(main, rest[0] ?? "", rest.slice(1).join("/"));
  if (section === "jobs" && rest[0]) return jobPage(main, rest[0]);
  return jobsPage(main);
}

try {
  await open();
} catch (error) {
  if (!(error instanceof Refusal)) {
    tell(`This page has a fault: ${error.message}`);
    throw error;
  }
  const missing = error.status === 404;
  document.title = missing ? "Not found · Console" : "Console";
  main.replaceChildren(
    h("h1", {}, missing ? "There is no such thing here" : "That did not work"),
    h("p", { class: "lead" }, missing && section === "jobs" ? `No training job is called “${rest[0]}”.` : error.message),
    h("p", {}, h("a", { href: base }, "All training jobs")),
  );
}
