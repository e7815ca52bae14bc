// The sequence diagram: one row for each message, of which only those in sight are in the document.

const ROW = 25;
const OVERSCAN = 8;

/** A pause that is worth a row of its own, in microseconds. */
const PAUSE = 5000;

const ARROW = {head: 7, back: 5};

const pen = document.createElement("canvas").getContext("2d");

/** The line of an arrow leaves room for its label. */
function textWidth(text) {
  pen.font = "12px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  return pen.measureText(text).width;
}

class Sequence {
  constructor(node, select) {
    this.node = node;
    this.select = select;
    this.scroller = node.querySelector(".scroller");
    this.inner = node.querySelector(".inner");
    this.svg = node.querySelector("svg");
    this.list = node.querySelector(".rows");
    this.rows = [];
    this.scroller.addEventListener("scroll", () => this.draw());
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.layOut()).observe(this.scroller);
  }

  /** @param keep which messages are shown */
  show(session, keep) {
    this.session = session;
    this.rows = this.makeRows(keep);
    this.indexOf = new Map(this.rows.map((row, index) => [row.record, index]).filter(([record]) => record));
    this.spans = this.makeSpans();
    this.inner.style.height = `${this.rows.length * ROW}px`;
    this.layOut();
  }

  makeRows(keep) {
    const rows = [];
    let before;
    for (const record of this.session.records) {
      const message = record.type === "message";
      if (!message && !["raw", "end", "lost"].includes(record.type)) continue;
      if (!keep(record)) continue;
      if (before !== undefined && record.time_us - before > PAUSE) rows.push({kind: "gap", us: record.time_us - before});
      before = record.time_us;
      rows.push({kind: message ? "message" : "event", record});
    }
    return rows;
  }

  /** From each request to its reply: as long as somebody is at work on it. */
  makeSpans() {
    const spans = [];
    for (const [index, {kind, record}] of this.rows.entries()) {
      if (kind !== "message" || record.kind !== "request" || !record.partner) continue;
      const end = this.indexOf.get(record.partner);
      if (end !== undefined) spans.push({begin: index, end, back: isBack(record), at: record.from === "front-end" ? "right" : "left"});
    }
    return spans;
  }

  layOut() {
    const width = this.scroller.clientWidth;
    this.left = 150;
    this.right = this.left + Math.max(230, Math.min(330, width * 0.3));
    this.textAt = this.right + 34;
    this.node.querySelector(".frontend").style.left = `${this.left}px`;
    this.node.querySelector(".backend").style.left = `${this.right}px`;
    this.node.querySelector("#unit").style.left = "92px";
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - OVERSCAN);
    const last = Math.min(this.rows.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + OVERSCAN);
    const rows = [], shapes = [];
    for (let i = first; i < last; i++) {
      rows.push(this.drawRow(this.rows[i], i));
      if (this.rows[i].kind === "message") shapes.push(this.drawArrow(this.rows[i].record, i));
      if (this.rows[i].record?.type === "end") shapes.push(this.drawEnd(this.rows[i].record, i));
    }
    fill(this.svg, {width: this.right + 30, height: this.rows.length * ROW}, []);
    this.svg.replaceChildren(...this.drawLives(first, last), ...this.drawSpans(first, last), ...shapes);
    this.list.replaceChildren(...rows);
    byId("shown").textContent = this.rows.length ? "" : "nothing matches";
  }

  drawLives(first, last) {
    return [this.left, this.right].map((x) => svg("line", {class: "life", x1: x, x2: x, y1: first * ROW, y2: last * ROW}));
  }

  /** The back-end channel's stand a little outside of the main channel's. */
  drawSpans(first, last) {
    return this.spans.filter((span) => span.end >= first && span.begin < last).map((span) => {
      const outward = span.at === "right" ? 1 : -1;
      const x = (span.at === "right" ? this.right : this.left) + (span.back ? outward * ARROW.back : 0);
      return svg("rect", {class: `busy ${span.back ? "back" : "main"}`, x: x - 2.5, width: 5, y: (span.begin + 0.5) * ROW,
        height: (span.end - span.begin) * ROW, rx: 2});
    });
  }

  drawArrow(message, index) {
    const back = isBack(message), reply = message.kind === "reply", rightward = message.from === "front-end";
    const y = (index + 0.5) * ROW, from = rightward ? this.left + 4 : this.right - 4, to = rightward ? this.right - 4 : this.left + 4;
    const tip = rightward ? -ARROW.head : ARROW.head;
    const bad = isRefused(message) || message.notes.length > 0;
    const label = this.label(message), middle = (this.left + this.right) / 2, gap = Math.min(textWidth(label) / 2 + 7, middle - this.left - 14);
    const line = (a, b) => svg("line", {class: `arrow${reply ? " reply" : ""}`, x1: a, x2: b, y1: y, y2: y});
    return svg("g", {class: bad ? "bad" : back ? "back" : "main"},
      line(from, middle + (rightward ? -gap : gap)), line(middle + (rightward ? gap : -gap), to),
      svg("path", {class: `head${reply ? " open" : ""}`, d: `M${to + tip} ${y - 4}L${to} ${y}L${to + tip} ${y + 4}${reply ? "" : "Z"}`}),
      svg("text", {class: `label${reply ? " reply" : ""}`, x: middle, y: y + 4}, label));
  }

  drawEnd(record, index) {
    const x = record.from === "front-end" ? this.left : this.right, y = (index + 0.5) * ROW;
    return svg("path", {class: `stop ${isBack(record) ? "back" : "main"}`, d: `M${x - 9} ${y}h18`});
  }

  label(message) {
    if (message.kind === "request") return message.name;
    const words = message.result === undefined ? message.name : message.result === 0 ? "ok" : `refused ${message.result}`;
    return message.latency_us === undefined ? words : `${words} · ${duration(message.latency_us)}`;
  }

  drawRow(row, index) {
    const style = `top: ${index * ROW}px`;
    if (row.kind === "gap")
      return el("div", {class: "row gap", style}, el("span", {style: `left: ${(this.left + this.right) / 2}px`}, `${duration(row.us)} later`));
    if (row.kind === "event") return this.drawEvent(row.record, style);
    const {record} = row;
    const classes = ["row", "message", record.notes.length > 0 && "noted", record === this.selected && "selected",
      this.selected && record === this.selected.partner && "pair"].filter(Boolean).join(" ");
    return el("div", {class: classes, style, "data-n": record.n, title: [...record.notes, record.text].filter(Boolean).join("\n") || undefined,
      onclick: () => this.select(record)},
    el("span", {class: "time"}, milliseconds(record.time_us)),
    el("span", {class: "text", style: `left: ${this.textAt}px`}, record.notes.map((note) => el("em", {}, note)),
      record.fds.map((fd) => el("span", {class: "fd"}, fd.name ? baseName(fd.name) : fd.kind)),
      record.result === undefined ? record.text : ""));
  }

  drawEvent(record, style) {
    const words = {
      raw: () => `${record.channel} channel, from the ${record.from}: not vhost-user from here on (${record.note})`,
      end: () => `the ${record.from} is done on the ${record.channel} channel, after ${bytes(record.bytes)}${record.note ? `: ${record.note}` : ""}`,
      lost: () => `${record.records} records are missing here`,
    };
    const bad = record.type !== "end" || record.note;
    return el("div", {class: `row event${bad ? " bad" : ""}`, style},
      el("span", {class: "time"}, milliseconds(record.time_us)),
      el("span", {class: "words", style: `left: ${this.textAt}px`}, words[record.type]()));
  }

  /** Marks it, and brings it into sight. */
  mark(message) {
    this.selected = message;
    const index = this.indexOf.get(message);
    if (index !== undefined) {
      const top = index * ROW, {scrollTop, clientHeight} = this.scroller;
      if (top < scrollTop + ROW || top > scrollTop + clientHeight - 2 * ROW) this.scroller.scrollTop = top - clientHeight / 2;
    }
    this.draw();
  }

  key(event) {
    const step = {ArrowDown: 1, j: 1, ArrowUp: -1, k: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    let index = (this.indexOf.get(this.selected) ?? -1) + step;
    while (this.rows[index] && this.rows[index].kind !== "message") index += step;
    if (this.rows[index]) this.select(this.rows[index].record);
  }
}

// ---- one message in full ----

function hexDump(text) {
  const lines = [];
  for (let at = 0; at < text.length; at += 32) {
    const pairs = text.slice(at, at + 32).match(/../g) ?? [];
    lines.push(`${(at / 2).toString(16).padStart(4, "0")}  ${pairs.join(" ")}`);
  }
  return lines.join("\n");
}

function resultWords(message) {
  if (message.result === undefined) return undefined;
  return message.result === 0 ? el("span", {class: "ok"}, "ok") : el("span", {class: "no"}, `refused ${message.result}`);
}

function showDetail(message, select) {
  const node = byId("detail");
  if (!message) {
    node.replaceChildren(el("p", {class: "soft"}, "Choose a message, here or in the window, to see all of it. The arrow keys go from one to the next."));
    return;
  }
  const {partner} = message, way = message.from === "front-end" ? "front-end → back-end" : "back-end → front-end";
  const link = partner && el("a", {onclick: () => select(partner)}, `#${partner.n}`);
  const latency = (partner && message.kind === "request" ? partner : message).latency_us;
  node.replaceChildren(
    el("h3", {class: isBack(message) ? "back" : "main"}, `${message.name}${message.kind === "reply" ? " reply" : ""}`),
    el("div", {class: "soft"}, `#${message.n}, ${message.channel} channel, ${way}`),
    ...message.notes.map((note) => el("p", {class: "note"}, note)),
    definitions([
      ["time", `${milliseconds(message.time_us)} ms`],
      [message.kind === "request" ? "answered by" : "answers", link],
      ["latency", latency === undefined ? undefined : duration(latency)],
      ["result", resultWords(message) ?? (partner && message.kind === "request" ? resultWords(partner) : undefined)],
      ["request", `${message.request}`],
      ["flags", `${hex(message.flags)}${message.need_reply ? " need_reply" : ""}`],
      ["payload", bytes(message.size)],
    ]),
    ...(message.text && !message.features ? [el("h4", {}, "Says"), el("p", {class: "mono"}, message.text)] : []),
    ...(message.features ? [el("h4", {}, "Features"), el("div", {class: "chips"}, message.features.map((name) => el("span", {class: "chip"}, name)))] : []),
    ...(message.mapping ? [el("h4", {}, "Mapping"), definitions([
      ["shmid", `${message.mapping.shmid}`], ["in file at", hex(message.mapping.fd_offset)], ["in window at", hex(message.mapping.shm_offset)],
      ["length", `${hex(message.mapping.len)} (${bytes(message.mapping.len)})`], ["flags", hex(message.mapping.flags)]])] : []),
    ...(message.fds.length ? [el("h4", {}, "File descriptors"), ...message.fds.map((fd) => el("p", {}, fdWords(fd)))] : []),
    ...(message.payload ? [el("h4", {}, "Bytes"), el("pre", {}, hexDump(message.payload))] : []),
  );
}
