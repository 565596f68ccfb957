// The panels but for the matrix: each function draws one from its data.

import { $, badge, clock, el, local, milliseconds, span, time } from "./dom.mjs";

const states = {
  alive: ["ok", "●"], suspect: ["warn", "▲"], down: ["bad", "✕"], left: ["", "○"], quarantined: ["broken", "■"],
};
const pluginStates = {
  running: ["ok", "●"], starting: ["", "○"], backoff: ["warn", "▲"], disabled: ["bad", "✕"], stopped: ["", "○"],
};

export function state(table, word) {
  const [kind, shape] = table[word] ?? ["", "?"];
  return badge(kind, shape, word);
}

export function drawMesh(summary, connected) {
  if (!summary) return;
  $("self").textContent = `on ${summary.self.name}`;
  document.title = `${summary.self.name} · NodeProbe`;
  const { total, by_state: by, candidates } = summary.nodes;
  const counts = Object.entries(by).map(([word, n]) => `${n} ${word}`).join(", ");
  let shown = badge("warn", "▲", "problem");
  let text = `${total} ${total === 1 ? "peer" : "peers"}: ${counts}.`;
  if (!connected) {
    shown = badge("", "?", "unknown");
    text = "This page has lost its node; what follows is the last it knew.";
  } else if (summary.state === "waiting") {
    shown = badge("", "○", "waiting for peers");
    text = `No peer is known yet. Add one to seed.json, here or on another node; this one listens on port ${summary.self.port}.`;
  } else if (summary.state === "ok") {
    shown = badge("ok", "●", "all peers answer");
  }
  if (connected && candidates > 0) text += ` ${candidates} heard of and not reached yet.`;
  say($("mesh"), shown, ` ${text}`);
  $("problems").replaceChildren(...summary.problems.map((p) => el("li", {}, p)));
}

// say changes a live region only when its words change: it is read out.
function say(region, ...children) {
  const next = el("span", {}, ...children);
  if (region.textContent !== next.textContent) region.replaceChildren(next);
}

export function drawNodes(data, probe, day) {
  const stale = probe?.stale_after_seconds ?? Infinity;
  $("nodes-note").textContent = data.nodes.length === 0 ? "No peers yet." : "";
  // Trouble first; otherwise the order of the names, as they come.
  const shown = [...data.nodes].sort((a, b) => (a.state === "alive") - (b.state === "alive"));
  body("nodes", shown.map((n) => {
    const old = !n.last_seen || clock.age(n.last_seen) > stale;
    return el("tr", { "data-node": n.id },
      el("th", { scope: "row" }, el("a", { href: `#node-${n.id}` }, n.name), " ", el("small", { title: n.id }, n.id.slice(0, 8))),
      el("td", {}, state(states, n.state)),
      el("td", {}, n.endpoints[0] ?? "unknown"),
      el("td", { class: old ? "time old" : "time" }, time(n.last_seen)),
      roundTrip(n.paths?.find((p) => p.probe === probe?.name), stale),
      ...lastDay(day?.paths.find((p) => p.node === n.id)),
      el("td", {}, n.state === "alive" ? "" : n.message || n.reason),
      el("td", {}, n.version || el("span", { class: "old" }, "not told")));
  }));
}

// lastDay is two cells: how many runs succeeded, and what RTT was as a rule.
function lastDay(path) {
  if (!path?.runs) return [el("td", { class: "number old" }, "not measured"), el("td", {})];
  const { runs, failures, p50_rtt_us: half, p99_rtt_us: most } = path;
  // Not rounded up: 100 % means that no run failed.
  const percent = failures ? (Math.floor(path.success_ratio * 1e4) / 100).toFixed(2) : "100";
  return [el("td", { class: "number", title: `${failures} of ${runs} runs failed` }, `${percent} %`),
    el("td", { class: "number" }, half ? `${milliseconds(half)}, ${milliseconds(most)} ms` : "")];
}

function roundTrip(path, stale) {
  if (!path?.rtt_us) return el("td", { class: "number old" }, "not measured");
  const old = clock.age(path.at) > stale;
  return el("td", { class: old ? "number old" : "number", title: `measured ${local(path.at)}` },
    `${milliseconds(path.rtt_us)} ms`, old ? " (old)" : "");
}

export function drawPlugins(data) {
  body("plugins", data.plugins.map((p) => el("tr", {},
    el("th", { scope: "row" }, p.name, " ", el("small", {}, p.version)),
    el("td", {}, state(pluginStates, p.state)),
    el("td", {}, [...p.probes, ...p.reporters].join(", ") || "nothing"),
    el("td", { class: "number" }, p.restarts),
    el("td", {}, p.problem))));
}

export function drawReports(data, nameOf) {
  $("reports-note").textContent = data.reports.length === 0 ? "None so far: no node reports to this one." : "";
  body("reports", data.reports.map((r) => el("tr", {},
    el("th", { scope: "row" }, nameOf(r.node_id)),
    el("td", {}, r.from, " ", r.verified ? "" : badge("warn", "▲", "only a claim")),
    el("td", { class: "time" }, time(r.received)),
    el("td", { class: "number" }, r.node_count),
    el("td", { class: "number" }, r.path_count),
    el("td", {}, el("a", { href: `/api/v1/reports/${r.node_id}` }, "JSON")))));
}

export function drawEvents(data, nameOf) {
  $("events-note").textContent = data.events.length === 0 ? "None so far." : "";
  body("events", data.events.map((e) => el("tr", {},
    el("td", { class: "time" }, local(e.began)),
    el("td", { class: "time" }, lasted(e)),
    el("td", { class: "time" }, e.kind.replaceAll("_", " ")),
    el("td", {}, nameOf(e.subject)),
    el("td", {}, e.message))));
}

function lasted(e) {
  if (!e.ended) return badge("warn", "▲", `${span(clock.age(e.began))}, goes on`);
  const seconds = (Date.parse(e.ended) - Date.parse(e.began)) / 1000;
  return seconds > 0 ? span(seconds) : "at once";
}

// body replaces the rows of a table; a link that has the focus keeps it.
function body(table, rows) {
  const at = $(table).tBodies[0];
  const focused = at.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  at.replaceChildren(...rows);
  if (focused) [...at.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

export function failed(panel, message) {
  const note = $(`${panel}-note`);
  note.classList.toggle("failed", message !== "");
  if (message) note.textContent = message;
}
