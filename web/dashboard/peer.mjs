// One peer in full: what each probe told last, and the documents that hold.
// Nothing here knows a probe: figures are shown by the unit in their name,
// documents by their structure.

import { $, badge, el, label, local, milliseconds, quantity, time } from "./dom.mjs";

const outcomes = {
  success: ["ok", "●"], failure: ["bad", "✕"], unsupported: ["warn", "–"], plugin_error: ["broken", "!"],
};

// drawPeers fills the list to choose from; it keeps what is chosen.
export function drawPeers(nodes, chosen) {
  choices($("peer-choice"), [["", "choose a node"], ...nodes.map((n) => [n.id, n.name])], chosen);
}

// choices replaces the options of a list when they are not as they were.
export function choices(list, options, chosen) {
  const key = JSON.stringify(options);
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  }
  if (list.value !== chosen) list.value = chosen;
}

export function drawPeer(node, documents) {
  const open = new Set([...$("peer").querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const next = el("div", {},
    ...(node?.findings ?? []).map((f) => el("p", {}, badge("warn", "▲", label(f.kind)), ` ${f.message}, since ${local(f.since)} (${f.probe})`)),
    ...(node?.paths ?? []).map(probe),
    ...documents.filter((d) => d.until === null).map((d) => documentOf(d, documents)));
  for (const d of next.querySelectorAll("details")) d.open = open.has(d.dataset.key);
  if (node && next.childElementCount === 0) next.append(el("p", { class: "old" }, "Nothing was measured there yet."));
  $("peer").replaceChildren(next);
}

function probe(path) {
  const [kind, shape] = outcomes[path.outcome] ?? ["", "?"];
  const facts = [
    ...(path.rtt_us > 0 ? [["rtt_us", quantity("rtt_us", path.rtt_us)]] : []),
    ...Object.entries(path.metrics ?? {}).map(([name, v]) => [name, quantity(name, v)]),
    ...Object.entries(path.attributes ?? {}),
  ].sort(([a], [b]) => (a < b ? -1 : 1));
  return el("section", { class: "probe", "data-probe": path.probe },
    el("h3", {}, path.probe, " ", badge(kind, shape, label(path.outcome)), " ", el("small", {}, time(path.at))),
    ...(path.message || path.reason ? [el("p", {}, path.message || path.reason)] : []),
    facts.length > 0 ? pairs(facts) : el("p", { class: "old" }, "no figures"));
}

function pairs(list) {
  return el("dl", {}, ...list.map(([name, text]) => el("div", { title: name }, el("dt", {}, label(name)), el("dd", {}, text))));
}

// documentOf shows the version that holds, and when there were others.
function documentOf(doc, all) {
  const earlier = all.filter((d) => d.name === doc.name && d.probe === doc.probe && d.until !== null);
  return el("section", { class: "probe", "data-document": doc.name },
    el("h3", {}, `${doc.probe}: ${label(doc.name)} `, el("small", {}, `since ${local(doc.at)}, ${doc.id}`)),
    structure(doc.body),
    ...(earlier.length === 0 ? [] : [el("details", { "data-key": `${doc.probe} ${doc.name}` },
      el("summary", {}, `${earlier.length} earlier`),
      ...earlier.map((d) => el("div", {}, el("h4", {}, `${local(d.at)} to ${local(d.until)}, ${d.id}`), structure(d.body))))]));
}

// structure shows any JSON value: objects as pairs, lists of objects as tables.
function structure(v) {
  if (isRows(v)) return rows(v);
  if (v === null || typeof v !== "object" || Array.isArray(v)) return el("p", {}, inline("", v));
  const fields = Object.entries(v);
  const flat = fields.filter(([, x]) => !isRows(x)).map(([name, x]) => [name, inline(name, x)]);
  return el("div", {}, ...(flat.length > 0 ? [pairs(flat)] : []), ...fields.filter(([, x]) => isRows(x)).map(([name, x]) => rows(x, name)));
}

function isRows(v) {
  return Array.isArray(v) && v.length > 0 && v.every((x) => x !== null && typeof x === "object" && !Array.isArray(x));
}

function rows(list, name) {
  const columns = [...new Set(list.flatMap(Object.keys))];
  return el("div", { class: "scroll" }, el("table", {},
    ...(name ? [el("caption", {}, label(name))] : []),
    el("thead", {}, el("tr", {}, ...columns.map((c) => el("th", { scope: "col" }, label(c))))),
    el("tbody", {}, ...list.map((x) => el("tr", {}, ...columns.map((c) => el("td", {}, c in x ? inline(c, x[c]) : "")))))));
}

// inline is a value in a line; an empty list is told, not left out.
function inline(name, v) {
  if (typeof v === "number") return name.endsWith("_us") ? `${milliseconds(v)} ms` : quantity(name, v);
  if (v === null || typeof v !== "object") return String(v);
  if (Array.isArray(v)) return v.length === 0 ? "none" : v.map((x) => inline(name, x)).join("; ");
  return Object.entries(v).map(([n, x]) => `${label(n)} ${inline(n, x)}`).join(", ");
}
