// A job's log: a tab for each host, lines as they come, a filter, and a view that follows the end.

import { h, setText } from "./dom.js";
import { clock } from "./format.js";

const MOST_LINES = 5000; // of one host on the page; the whole log stays in CloudWatch

export class Logs {
  constructor(container) {
    this.hosts = new Map();
    this.chosen = null;
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Hosts" });
    this.follow = h("input", { type: "checkbox", checked: true, id: "follow" });
    this.filter = h("input", { type: "search", id: "find", placeholder: "part of a line", autocomplete: "off", spellcheck: "false", oninput: () => this.sift() });
    this.count = h("span", { class: "count", role: "status" });
    this.panels = h("div");
    this.empty = h("p", { class: "nothing" }, "Nothing yet: the log begins with the training.");
    container.append(
      h("div", { class: "logbar" }, this.tabs, h("label", { for: "find" }, "Find", this.filter), h("label", { class: "check", for: "follow" }, this.follow, "Follow"), this.count),
      this.panels,
      this.empty,
    );
    this.follow.addEventListener("change", () => this.toEnd());
  }

  add(streams) {
    for (const { stream, host, events } of streams) {
      const view = this.hosts.get(host) ?? this.begin(host);
      if (!events.length) continue;
      const label = view.streams.has(stream) ? null : stream;
      view.streams.add(stream);
      if (label && view.streams.size > 1) view.lines.append(h("div", { class: "again" }, "The job was started again."));
      view.total += events.length;
      view.lines.append(...events.slice(-MOST_LINES).map((event) => this.line(event)));
      while (view.lines.children.length > MOST_LINES) view.lines.firstChild.remove();
    }
    this.sift();
    this.toEnd();
  }

  line({ time, message }) {
    return h("div", { class: "line" }, h("time", { datetime: new Date(time).toISOString() }, clock(time)), h("code", {}, message));
  }

  begin(host) {
    const id = `log-${host}`;
    const view = {
      streams: new Set(),
      total: 0,
      tab: h("button", { type: "button", role: "tab", id: `tab-${host}`, "aria-controls": id, "aria-selected": "false", tabindex: "-1", onclick: () => this.choose(host), onkeydown: (event) => this.step(event, host) }, host),
      lines: h("div", { class: "lines", id, role: "tabpanel", "aria-labelledby": `tab-${host}`, tabindex: "0", hidden: true }),
    };
    this.hosts.set(host, view);
    this.tabs.append(view.tab);
    this.panels.append(view.lines);
    this.empty.hidden = true;
    // A reader who scrolls up wants to stay there.
    view.lines.addEventListener("wheel", () => { this.follow.checked = atEnd(view.lines); }, { passive: true });
    if (!this.chosen) this.choose(host);
    return view;
  }

  choose(host) {
    this.chosen = host;
    for (const [name, { tab, lines }] of this.hosts) {
      tab.setAttribute("aria-selected", String(name === host));
      tab.tabIndex = name === host ? 0 : -1;
      lines.hidden = name !== host;
    }
    this.sift();
    this.toEnd();
  }

  step(event, host) {
    const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!turn) return;
    const names = [...this.hosts.keys()];
    const next = names[(names.indexOf(host) + turn + names.length) % names.length];
    this.choose(next);
    this.hosts.get(next).tab.focus();
  }

  sift() {
    const view = this.hosts.get(this.chosen);
    if (!view) return;
    const wanted = this.filter.value.toLowerCase();
    let shown = 0;
    for (const line of view.lines.children) {
      line.hidden = Boolean(wanted) && !line.textContent.toLowerCase().includes(wanted);
      shown += !line.hidden;
    }
    const cut = view.total > MOST_LINES ? `, the last ${MOST_LINES} are here` : "";
    setText(this.count, wanted ? `${shown} of ${view.total} lines${cut}` : `${view.total} lines${cut}`);
  }

  toEnd() {
    const view = this.hosts.get(this.chosen);
    if (view && this.follow.checked) view.lines.scrollTop = view.lines.scrollHeight;
  }
}

const atEnd = (box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 24;
