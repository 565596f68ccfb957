// The dashboard of a node: reads /api/v1, draws, and follows the stream.

import { $, clock, span } from "./dom.mjs";
import { follow } from "./live.mjs";
import { drawMatrix } from "./matrix.mjs";
import { drawPeer, drawPeers } from "./peer.mjs";
import { drawEvents, drawMesh, drawNodes, drawPlugins, drawReports, failed } from "./panels.mjs";

const data = { summary: null, nodes: null, matrix: null, plugins: null, events: null, reports: null, day: null, peer: null, documents: null };
const paths = {
  summary: "/api/v1/summary", nodes: "/api/v1/nodes", matrix: "/api/v1/matrix",
  plugins: "/api/v1/plugins", events: "/api/v1/events?limit=50", reports: "/api/v1/reports",
  day: "/api/v1/paths", peer: null, documents: null, // of the node that was chosen
};
// What to read again when something of a kind has changed.
const affected = {
  node: ["summary", "nodes", "matrix", "peer"], document: ["documents"], event: ["summary", "events"], plugin: ["summary", "plugins"],
  dropped: Object.keys(paths),
};
const refreshEvery = 10000;
const refreshDay = 60000;
const coalesce = 1000;

let connected = false;
let lastData = 0;
const wanted = new Set();
let refreshTimer = null;

// What is not a panel of its own is drawn in, and fails in, that of the nodes.
const shownIn = { summary: "nodes", day: "nodes", documents: "peer" };

async function load(panel) {
  const place = shownIn[panel] ?? panel;
  const path = paths[panel];
  if (!path) return;
  try {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    const body = await answer.json();
    if (path !== paths[panel]) return; // something else was chosen meanwhile
    if (!answer.ok) {
      failed(place, `${path}: ${body.error ?? answer.status}`);
      return;
    }
    data[panel] = body;
    if (body.at) clock.set(body.at);
    lastData = Date.now();
    failed(place, "");
    draw(panel);
    if (panel === "nodes" || panel === "summary") ["events", "reports"].forEach(draw); // they take names from them
  } catch (err) {
    failed(place, `${path}: no answer`);
    if (connected) stream.lost();
  }
}

function draw(panel) {
  const probe = data.plugins?.probes.find((p) => p.identifies);
  if (panel === "summary" && data.summary) drawMesh(data.summary, connected);
  if (panel === "nodes" && data.nodes) {
    drawNodes(data.nodes, probe, data.day);
    drawPeers(data.nodes.nodes, chosen());
  }
  if (panel === "peer" || panel === "documents") drawPeer(data.peer, data.documents?.documents ?? []);
  if (panel === "day") draw("nodes");
  if (panel === "matrix" && data.matrix) drawMatrix(data.matrix);
  if (panel === "events" && data.events) drawEvents(data.events, nameOf);
  if (panel === "reports" && data.reports) drawReports(data.reports, nameOf);
  if (panel === "plugins" && data.plugins) {
    drawPlugins(data.plugins);
    draw("nodes"); // it takes the probe's name and interval from here
  }
}

// chosen is the id of the node that the page's address names.
function chosen() {
  return location.hash.startsWith("#node-") ? location.hash.slice("#node-".length) : "";
}

function choose() {
  const id = encodeURIComponent(chosen());
  paths.peer = id && `/api/v1/nodes/${id}`;
  paths.documents = id && `/api/v1/nodes/${id}/documents?limit=20`;
  data.peer = data.documents = null;
  failed("peer", "");
  draw("peer");
  if (data.nodes) drawPeers(data.nodes.nodes, chosen());
  if (id) ["peer", "documents"].forEach(load);
}

function chooseMatrix(metric) {
  const ask = new URLSearchParams({ probe: $("matrix-probe").value, metric });
  paths.matrix = `/api/v1/matrix?${ask}`;
  load("matrix");
}

function nameOf(subject) {
  if (subject === data.summary?.self.id) return data.summary.self.name;
  return data.nodes?.nodes.find((n) => n.id === subject)?.name ?? subject;
}

function refresh(panels) {
  panels.forEach((p) => wanted.add(p));
  if (refreshTimer || wanted.size === 0) return;
  refreshTimer = setTimeout(() => {
    refreshTimer = null;
    const now = [...wanted];
    wanted.clear();
    now.forEach(load);
  }, coalesce);
}

// merge puts self's new results where they belong without reading all again.
function merge({ source, paths: fresh }) {
  for (const path of fresh) {
    const node = data.nodes?.nodes.find((n) => n.id === path.destination);
    if (node) {
      node.paths = [...(node.paths ?? []).filter((p) => p.probe !== path.probe), path];
      if (path.outcome === "success" && isIdentifying(path.probe)) node.last_seen = path.at;
    }
    if (path.destination === chosen()) refresh(["peer"]);
    const row = data.matrix?.nodes.findIndex((n) => n.id === source) ?? -1;
    const column = data.matrix?.nodes.findIndex((n) => n.id === path.destination) ?? -1;
    if (path.probe === data.matrix?.probe && row >= 0 && column >= 0) data.matrix.rows[row][column] = path;
  }
}

function isIdentifying(name) {
  return data.plugins?.probes.some((p) => p.name === name && p.identifies) ?? false;
}

function showConnection(up) {
  connected = up;
  document.body.classList.toggle("lost", !up);
  if (up) lastData = Date.now();
  showLive();
  draw("summary");
}

function showLive() {
  const live = $("live");
  const age = lastData ? ` · data ${span((Date.now() - lastData) / 1000)} old` : "";
  const text = connected ? "● live" : `■ disconnected${age}, retrying`;
  live.className = connected ? "badge ok" : "badge broken";
  if (live.textContent !== text) live.textContent = text;
}

// A theme that the reader chose stays; without one the system's holds.
function setUpTheme() {
  const themes = ["auto", "light", "dark"];
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  };
  show(localStorage.getItem("theme") ?? "auto");
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    localStorage.setItem("theme", next);
    show(next);
  });
}

setUpTheme();
addEventListener("hashchange", () => {
  choose();
  if (chosen()) $("peer-title").scrollIntoView();
});
$("peer-choice").addEventListener("change", (e) => { location.hash = e.target.value && `node-${e.target.value}`; });
$("matrix-probe").addEventListener("change", () => chooseMatrix("rtt_us"));
$("matrix-metric").addEventListener("change", (e) => chooseMatrix(e.target.value));
choose();
Object.keys(paths).forEach(load);
const stream = follow("/api/v1/stream", ["paths", ...Object.keys(affected)], {
  state: showConnection,
  hello: () => refresh(Object.keys(paths)),
  change: (kind, payload) => (kind === "paths" ? merge(payload) : refresh(affected[kind])),
});

// The whole is read again now and then: peers' rows of the matrix and their
// snapshots come with no change of this node, and an answer shows that it is there.
setInterval(() => {
  if (connected && !document.hidden) refresh(["summary", "matrix", "reports"]);
}, refreshEvery);
setInterval(() => {
  if (connected && !document.hidden) refresh(["day"]);
}, refreshDay);
setInterval(() => {
  showLive();
  if (!getSelection().isCollapsed) return; // somebody is copying an address
  draw("nodes");
  draw("matrix");
}, 1000);
