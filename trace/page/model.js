// Records to what is shown of them. The keys are those of oriel-trace(1).

/** The embedded JSON lines. A line that was cut off, where the tracer was killed, is left out. */
function readRecords(text) {
  const records = [];
  for (const line of text.split("\n")) {
    if (!line) continue;
    try {
      records.push(JSON.parse(line));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return records;
}

const isBack = (record) => record.channel !== undefined && record.channel !== "main";

/** Requests and replies know each other; times count from the session's begin, in microseconds. */
function linkPairs(messages) {
  const byNumber = new Map(messages.map((message) => [message.n, message]));
  for (const message of messages) {
    const request = message.reply_to ? byNumber.get(message.reply_to) : undefined;
    if (!request) continue;
    message.partner = request;
    request.partner = message;
  }
}

const isRefused = (message) => message.result !== undefined && message.result !== 0;

/** When a request took effect: undefined if it was refused, or if nobody knows. */
function effectOf(request) {
  if (request.partner) return isRefused(request.partner) ? undefined : request.partner.time_us;
  return request.need_reply ? undefined : request.time_us;
}

/** What ends all mappings at once: vhost-user has them gone with a device reset. */
function resets(message) {
  if (message.kind !== "request" || isBack(message)) return false;
  return message.name === "RESET_DEVICE" || (message.name === "SET_STATUS" && /^0x0$/.test(message.text));
}

function newMapping(request) {
  const at = effectOf(request);
  const state = at !== undefined ? "mapped" : request.partner ? "refused" : "pending";
  return {request, state, ...request.mapping, readWrite: (request.mapping.flags & 1) !== 0,
    begin: at ?? request.time_us, end: undefined, fd: request.fds[0]};
}

/** Mappings in the order they were asked for, each with when it was live. */
function followMappings(messages) {
  const mappings = [], live = new Set();
  const endAll = (test, at, by) => {
    for (const mapping of live) {
      if (!test(mapping)) continue;
      mapping.end = at;
      mapping.endedBy = by;
      live.delete(mapping);
    }
  };
  for (const message of messages) {
    if (resets(message)) endAll(() => true, message.time_us, message);
    if (message.kind !== "request" || !message.mapping || !isBack(message)) continue;
    if (message.name === "SHMEM_MAP") {
      const mapping = newMapping(message);
      mappings.push(mapping);
      if (mapping.state === "mapped") live.add(mapping);
    } else if (effectOf(message) !== undefined) {
      const gone = message.mapping;
      endAll((m) => m.shmid === gone.shmid && m.shm_offset === gone.shm_offset && m.len === gone.len, effectOf(message), message);
    }
  }
  return mappings;
}

/** The most bytes that were mapped at one time, and what is at the end. */
function measureMapped(mappings) {
  const steps = [];
  for (const mapping of mappings) {
    if (mapping.state !== "mapped") continue;
    steps.push([mapping.begin, mapping.len]);
    if (mapping.end !== undefined) steps.push([mapping.end, -mapping.len]);
  }
  steps.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let now = 0, peak = 0;
  for (const [, change] of steps) {
    now += change;
    peak = Math.max(peak, now);
  }
  return {peak, last: now};
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** Per request: how many, how they were answered, and how long that took. */
function countRequests(messages) {
  const rows = new Map();
  for (const message of messages) {
    if (message.kind !== "request") continue;
    const key = `${isBack(message)} ${message.name}`;
    if (!rows.has(key)) rows.set(key, {name: message.name, back: isBack(message), count: 0, refused: 0, latencies: []});
    const row = rows.get(key);
    row.count++;
    if (!message.partner) continue;
    row.latencies.push(message.partner.latency_us);
    if (isRefused(message.partner)) row.refused++;
  }
  for (const row of rows.values()) row.latencies.sort((a, b) => a - b);
  return [...rows.values()].sort((a, b) => a.back - b.back || b.count - a.count);
}

function lastFeatures(messages, name, kind) {
  for (let i = messages.length - 1; i >= 0; i--)
    if (messages[i].name === name && messages[i].kind === kind && messages[i].features) return messages[i].features;
  return [];
}

function makeSession(number, records) {
  const messages = records.filter((record) => record.type === "message");
  linkPairs(messages);
  const mappings = followMappings(messages), regions = new Map();
  for (const message of messages) for (const region of message.regions ?? []) regions.set(region.shmid, region.size);
  for (const mapping of mappings) if (!regions.has(mapping.shmid)) regions.set(mapping.shmid, undefined);
  const last = records[records.length - 1];
  const unanswered = records.find((record) => record.type === "session_end")?.unanswered ?? [];
  for (const message of messages) if (unanswered.includes(message.n)) message.notes.push(`${message.name}: no reply came`);
  return {
    number, records, messages, mappings,
    begin: records.find((record) => record.type === "session"),
    duration: Math.max(1, last.time_us),
    regions: [...regions].sort((a, b) => a[0] - b[0]).map(([shmid, size]) => ({shmid, size})),
    requests: countRequests(messages),
    features: {
      virtio: {offered: lastFeatures(messages, "GET_FEATURES", "reply"), taken: lastFeatures(messages, "SET_FEATURES", "request")},
      protocol: {
        offered: lastFeatures(messages, "GET_PROTOCOL_FEATURES", "reply"),
        taken: lastFeatures(messages, "SET_PROTOCOL_FEATURES", "request"),
      },
    },
  };
}

function makeSessions(records) {
  const groups = new Map();
  for (const record of records) {
    if (!groups.has(record.session)) groups.set(record.session, []);
    groups.get(record.session).push(record);
  }
  return [...groups].map(([number, group]) => makeSession(number, group));
}

// ---- words ----

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];

function bytes(n) {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${Number.isInteger(n) ? n : n.toFixed(n < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

function duration(us) {
  if (us < 1000) return `${us < 10 ? us.toFixed(1) : Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
}

const hex = (n) => `0x${n.toString(16)}`;
const milliseconds = (us) => (us / 1000).toFixed(3);
const baseName = (path) => path.replace(/\/+$/, "").split("/").pop() || path;

function fdWords(fd) {
  const parts = [fd.name ? `${fd.kind} ${fd.name}` : fd.kind];
  if (fd.size !== undefined) parts.push(bytes(fd.size));
  parts.push(fd.access);
  return parts.join(", ");
}

// ---- elements ----

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {}))
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);

/** A list of names and values; values that are undefined are left out. */
function definitions(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value !== undefined).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}
