// What everything on the page is made with: elements and text nodes. Nothing
// from the network is ever parsed as HTML.

export const $ = (id) => document.getElementById(id);

// el makes an element; children are elements or text.
export function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null) e.setAttribute(name, value);
  }
  e.append(...children.map((c) => (c instanceof Node ? c : String(c ?? ""))));
  return e;
}

export function badge(kind, shape, word) {
  return el("span", { class: `badge ${kind}` }, el("span", { "aria-hidden": "true" }, `${shape} `), word);
}

// clock is the server's: browsers may be wrong by hours.
export const clock = {
  offset: 0,
  set(at) {
    this.offset = Date.parse(at) - Date.now();
  },
  now() {
    return Date.now() + this.offset;
  },
  age(at) {
    return Math.max(0, (this.now() - Date.parse(at)) / 1000);
  },
};

export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function ago(at) {
  return at ? `${span(clock.age(at))} ago` : "never";
}

// local is ISO 8601 with 24 hours, in the browser's zone.
export function local(at) {
  const d = new Date(at);
  const two = (n) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function time(at) {
  return at ? el("time", { datetime: at, title: local(at) }, ago(at)) : el("span", { class: "old" }, "never");
}

// milliseconds with three significant digits.
export function milliseconds(us) {
  const ms = us / 1000;
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms >= 1 ? ms.toFixed(2) : ms.toFixed(3);
}

// quantity is a figure for people, by the unit that its name ends in.
export function quantity(name, v) {
  if (name.endsWith("_timestamp_seconds")) return local(v * 1000);
  if (name.endsWith("_seconds")) return `${milliseconds(v * 1e6)} ms`;
  if (name.endsWith("_us")) return `${milliseconds(v)} ms`;
  if (name.endsWith("_ratio")) return `${plain(v * 100)} %`;
  if (name.endsWith("_bytes")) return `${plain(v)} B`;
  return plain(v);
}

// plain has at most four significant digits behind the point, and all before it.
function plain(v) {
  if (Number.isInteger(v)) return String(v);
  return Math.abs(v) >= 1000 ? v.toFixed(0) : String(Number(v.toPrecision(4)));
}

// label is a name without the unit, which the figure has.
export function label(name) {
  return name.replace(/_(timestamp_seconds|seconds|us|ratio|bytes|count)$/, "").replaceAll("_", " ");
}
