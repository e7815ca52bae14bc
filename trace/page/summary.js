// Counts, latencies and what was agreed on.

function tile(value, unit, words, bad) {
  return el("div", {class: `tile card${bad ? " bad" : ""}`}, el("b", {}, value, unit && el("small", {}, unit)), el("span", {}, words));
}

function drawTiles(session) {
  const {messages, mappings} = session;
  const latencies = session.requests.flatMap((row) => row.latencies).sort((a, b) => a - b);
  const notes = messages.reduce((sum, message) => sum + message.notes.length, 0)
    + session.records.filter((record) => record.type === "raw" || record.type === "lost").length;
  const refused = messages.filter(isRefused).length;
  const [length, lengthUnit] = duration(session.duration).split(" ");
  const [median, medianUnit] = latencies.length ? duration(quantile(latencies, 0.5)).split(" ") : ["none", ""];
  byId("tiles").replaceChildren(
    tile(messages.length.toLocaleString("en"), "", "messages"),
    tile(length, lengthUnit, "from first to last"),
    tile(median, medianUnit, "until a reply (median)"),
    tile(messages.reduce((sum, message) => sum + message.fds.length, 0).toLocaleString("en"), "", "file descriptors passed"),
    tile(mappings.filter((mapping) => mapping.state === "mapped").length.toLocaleString("en"), "", "mappings made"),
    tile(refused.toLocaleString("en"), "", "requests refused", refused > 0),
    tile(notes.toLocaleString("en"), "", "breaches noted", notes > 0));
}

/** From the least to the greatest on a logarithmic scale, a bar to the 99th of a hundred, a dot at the median. */
function drawSpread(latencies, from, to) {
  const at = (value) => `${(2 + 96 * (Math.log(value) - Math.log(from)) / (Math.log(to) - Math.log(from) || 1)).toFixed(2)}%`;
  const floor = (value) => Math.max(value, 0.1);
  return svg("svg", {},
    svg("line", {x1: at(floor(latencies[0])), x2: at(floor(quantile(latencies, 0.99))), y1: 8, y2: 8}),
    svg("circle", {cx: at(floor(quantile(latencies, 0.5))), cy: 8, r: 3.5}));
}

function drawRequests(session) {
  const all = session.requests.flatMap((row) => row.latencies).map((value) => Math.max(value, 0.1));
  const from = all.reduce((a, b) => Math.min(a, b), Infinity), to = all.reduce((a, b) => Math.max(a, b), 0);
  const heads = ["request", "sent", "answered", "refused", "min", "median", "p99", "spread (logarithmic)"];
  return el("div", {class: "card"}, el("h2", {}, "Requests"), el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", {class: head.startsWith("spread") ? "spread" : undefined}, head)))),
    el("tbody", {}, session.requests.map(({name, back, count, refused, latencies}) => el("tr", {"data-name": name},
      el("td", {}, el("span", {class: `swatch ${back ? "back" : "main"}`}), name),
      el("td", {}, `${count}`),
      el("td", {}, `${latencies.length}`),
      el("td", {class: refused ? "no" : undefined}, `${refused}`),
      ...[0, 0.5, 0.99].map((q) => el("td", {}, latencies.length ? duration(quantile(latencies, q)) : "–")),
      el("td", {class: "spread"}, latencies.length ? drawSpread(latencies, from, to) : ""))))));
}

function drawFeatures(title, {offered, taken}) {
  const names = [...new Set([...offered, ...taken])];
  if (!names.length) return [];
  return [el("h4", {class: "soft"}, title), el("div", {class: "chips"}, names.map((name) =>
    el("span", {class: `chip${taken.includes(name) ? "" : " off"}`, title: taken.includes(name) ? "negotiated" : "offered, not taken"}, name)))];
}

function drawSummary(session) {
  byId("summary").replaceChildren(el("div", {class: "tables"}, drawRequests(session),
    el("div", {class: "card"}, el("h2", {}, "Features"),
      el("p", {class: "soft"}, "Solid: negotiated. Dashed: offered and not taken."),
      drawFeatures("Protocol features", session.features.protocol),
      drawFeatures("Virtio features", session.features.virtio))));
}
