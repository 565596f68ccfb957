// The matrix: rows are sources, columns destinations. Cells are kept and only
// changed when their words change: 100 nodes have 10,000 of them.

import { $, clock, el, label, local, milliseconds, quantity } from "./dom.mjs";
import { choices } from "./peer.mjs";

const maxShown = 150;
const figuresUpTo = 16;
const shapes = { success: "●", failure: "✕", unsupported: "–", plugin_error: "!" };

let order = "";
let cells = [];

export function drawMatrix(data) {
  const nodes = data.nodes.slice(0, maxShown);
  const key = nodes.map((n) => `${n.id} ${n.name}`).join("\n");
  if (key !== order) build(nodes, key);
  nodes.forEach((from, i) => nodes.forEach((to, j) => {
    if (i !== j) drawCell(cells[i][j], data.rows[i][j], from, to, data, nodes.length);
  }));
  choices($("matrix-probe"), data.probes.includes(data.probe) ? same(data.probes) : same([data.probe, ...data.probes]), data.probe);
  const metrics = ["rtt_us", ...data.metrics];
  if (!metrics.includes(data.metric)) metrics.push(data.metric);
  choices($("matrix-metric"), metrics.map((m) => [m, label(m)]), data.metric);
  $("matrix-note").textContent = note(data);
}

const same = (names) => names.map((n) => [n, n]);

function note(data) {
  const parts = ["Rows measure, columns are measured."];
  if (data.nodes.length > maxShown) parts.push(`${data.nodes.length - maxShown} nodes are not shown.`);
  if (data.unknown_paths > 0) parts.push(`${data.unknown_paths} paths to or from nodes not known here are left out.`);
  return parts.join(" ");
}

function build(nodes, key) {
  order = key;
  const many = nodes.length > figuresUpTo;
  $("matrix").classList.toggle("many", many);
  $("matrix").tHead.replaceChildren(el("tr", {}, el("td", {}),
    ...nodes.map((n) => el("th", { scope: "col", title: n.name }, el("span", {}, n.name)))));
  cells = nodes.map((_, i) => nodes.map((_, j) => (
    i === j ? el("td", { class: "cell own", title: "itself" }, "") : el("td", { class: "cell none" }))));
  $("matrix").tBodies[0].replaceChildren(...nodes.map((n, i) => el("tr", {},
    el("th", { scope: "row", title: n.id }, n.name, n.self ? " (this node)" : ""), ...cells[i])));
}

// valueOf is the figure of a cell: as the matrix tells it, or as a new result does.
function valueOf(cell, metric) {
  if (metric === "rtt_us") return cell.rtt_us > 0 ? cell.rtt_us : undefined;
  return cell.value ?? cell.metrics?.[metric];
}

function drawCell(td, cell, from, to, { stale_after_seconds: staleAfter, metric }, count) {
  let name = "cell none";
  let text = "·";
  let title = `${from.name} → ${to.name}: not measured`;
  if (cell) {
    const old = staleAfter > 0 && clock.age(cell.at) > staleAfter;
    const value = valueOf(cell, metric);
    const figure = cell.outcome === "success" && value !== undefined && count <= figuresUpTo;
    name = `cell ${shapes[cell.outcome] ? cell.outcome : "none"}${old ? " stale" : ""}`;
    text = !figure ? shapes[cell.outcome] ?? "?" : metric === "rtt_us" ? milliseconds(value) : quantity(metric, value);
    const rtt = value !== undefined ? `, ${label(metric)} ${quantity(metric, value)}` : "";
    const why = cell.message || cell.reason || "";
    title = `${from.name} → ${to.name}: ${cell.outcome}${rtt}${why ? `, ${why}` : ""}, ${local(cell.at)}${old ? ", old" : ""}`;
  }
  if (td.className !== name) td.className = name;
  if (td.textContent !== text) td.textContent = text;
  if (td.title !== title) {
    td.title = title;
    td.setAttribute("aria-label", title);
  }
}
