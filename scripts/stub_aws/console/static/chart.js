// Metrics as curves: one chart for all metrics that end alike (train:logloss, validation:logloss).

import { h, svg } from "./dom.js";
import { number } from "./format.js";

const [WIDTH, HEIGHT] = [360, 190];
const PAD = { left: 50, right: 12, top: 10, bottom: 26 };
const MARKS = ["round", "square", "diamond", "ring"];
const MOST_MARKS = 40;

export class Charts {
  constructor(container) {
    this.container = container;
    this.series = new Map(); // name -> [{ time, value }], time in ms
    this.cards = new Map();
  }

  add(values) {
    const changed = new Set();
    for (const { name, time, value } of values) {
      if (!this.series.has(name)) this.series.set(name, []);
      this.series.get(name).push({ time, value });
      changed.add(groupOf(name));
    }
    for (const points of this.series.values()) points.sort((a, b) => a.time - b.time); // several hosts
    for (const group of changed) this.draw(group);
  }

  draw(group) {
    const names = [...this.series.keys()].filter((name) => groupOf(name) === group).sort();
    if (!this.cards.has(group)) {
      const card = { title: h("figcaption"), picture: h("div", { class: "picture" }), values: h("tbody"), heads: h("tr") };
      card.figure = h(
        "figure",
        { class: "chart" },
        card.title,
        card.picture,
        h("details", {}, h("summary", {}, "Values"), h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, card.heads), card.values))),
      );
      this.cards.set(group, card);
      this.container.append(card.figure);
    }
    const card = this.cards.get(group);
    card.title.replaceChildren(h("strong", {}, group), ...names.map((name, index) => legend(name, index, this.series.get(name))));
    card.picture.replaceChildren(this.picture(names));
    const begin = this.begin();
    card.heads.replaceChildren(...["Seconds", "Metric", "Value"].map((text) => h("th", { scope: "col" }, text)));
    card.values.replaceChildren(
      ...names
        .flatMap((name) => this.series.get(name).map((point) => ({ name, ...point })))
        .sort((a, b) => a.time - b.time)
        .map(({ name, time, value }) => h("tr", {}, h("td", {}, ((time - begin) / 1000).toFixed(2)), h("td", {}, name), h("td", {}, number(value)))),
    );
  }

  begin() {
    return Math.min(...[...this.series.values()].map((points) => points[0].time));
  }

  picture(names) {
    const all = names.flatMap((name) => this.series.get(name));
    const begin = this.begin();
    const seconds = all.map(({ time }) => (time - begin) / 1000);
    const x = scale(0, Math.max(...seconds, 0.001), PAD.left, WIDTH - PAD.right);
    const values = all.map(({ value }) => value);
    const [low, high] = roomy(Math.min(...values), Math.max(...values));
    const y = scale(low, high, HEIGHT - PAD.bottom, PAD.top);
    const labels = names.map((name) => {
      const points = this.series.get(name);
      return `${name}: ${points.length} values, from ${number(points[0].value)} to ${number(points.at(-1).value)}`;
    });
    const image = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": labels.join("; ") });
    for (const tick of ticks(low, high)) {
      image.append(
        svg("line", { class: "grid", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "tick", x: PAD.left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
      );
    }
    for (const tick of ticks(0, Math.max(...seconds, 0.001), 4)) {
      image.append(svg("text", { class: "tick", x: x(tick), y: HEIGHT - 8, "text-anchor": "middle" }, `${number(tick)} s`));
    }
    names.forEach((name, index) => {
      const points = this.series.get(name).map(({ time, value }) => [x((time - begin) / 1000), y(value), value, time]);
      image.append(svg("polyline", { class: `curve c${index % 4}`, points: points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ") }));
      const marked = points.length > MOST_MARKS ? points.slice(-1) : points;
      for (const [px, py, value, time] of marked) {
        image.append(mark(index, px, py, `${name} = ${number(value)} after ${((time - begin) / 1000).toFixed(2)} s`));
      }
    });
    return image;
  }
}

const groupOf = (name) => name.slice(name.lastIndexOf(":") + 1);

function legend(name, index, points) {
  const key = svg("svg", { class: "key", viewBox: "0 0 22 10", "aria-hidden": "true" }, svg("line", { class: `curve c${index % 4}`, x1: 0, x2: 22, y1: 5, y2: 5 }), mark(index, 11, 5));
  const part = name.includes(":") ? name.slice(0, name.lastIndexOf(":")) : "";
  return h("span", { class: "legend" }, key, part ? `${part} ` : "", h("b", {}, number(points.at(-1).value)));
}

function mark(index, x, y, title) {
  const kind = MARKS[index % 4];
  const shape =
    kind === "round" || kind === "ring"
      ? svg("circle", { class: `mark c${index % 4} ${kind}`, cx: x.toFixed(1), cy: y.toFixed(1), r: 3 })
      : svg("rect", { class: `mark c${index % 4}`, x: (x - 2.8).toFixed(1), y: (y - 2.8).toFixed(1), width: 5.6, height: 5.6, transform: kind === "diamond" ? `rotate(45 ${x.toFixed(1)} ${y.toFixed(1)})` : null });
  if (title) shape.append(svg("title", {}, title));
  return shape;
}

const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from)) * (high - low);

function roomy(low, high) {
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - room, high + room];
}

function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
  return ticks;
}
