// The map of a window over time: x is time, y is the offset in the region.

const CHART = {left: 78, right: 14, top: 8, bottom: 24, height: 270};

/** What is drawn of a mapping that is too small to be seen. */
const LEAST = {width: 2, height: 3};

/** With a refused mapping every so many pixels, they are drawn as small as can be seen. */
const CROWD = 12;

function niceStep(span, count) {
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
}

function ticks(from, to, count) {
  const step = niceStep(to - from, count), values = [];
  for (let value = Math.ceil(from / step) * step; value <= to; value += step) values.push(value);
  return values;
}

function byteTicks(to, count) {
  let step = 4096;
  while (to / step > count) step *= 2;
  return Array.from({length: Math.floor(to / step) + 1}, (_, i) => i * step);
}

class WindowMap {
  constructor(session, region, choose) {
    this.session = session;
    this.region = region;
    this.choose = choose;
    this.mappings = session.mappings.filter((mapping) => mapping.shmid === region.shmid);
    this.used = Math.max(4096, ...this.mappings.map((m) => m.shm_offset + m.len));
    this.whole = region.size !== undefined && this.used > region.size / 4;
    this.domain = this.busyTime();
    this.svg = svg("svg", {role: "img", "aria-label": `mappings of region ${region.shmid} over time`});
    this.brush = svg("rect", {class: "brush", y: CHART.top, height: 0});
    this.listen();
    this.node = this.makeCard();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** From the first mapping to the last change, with some room: what comes before and after is empty. */
  busyTime() {
    const times = this.mappings.flatMap((m) => [m.begin, m.request.time_us, m.end ?? m.begin]);
    if (!times.length) return [0, this.session.duration];
    const first = times.reduce((a, b) => Math.min(a, b)), last = times.reduce((a, b) => Math.max(a, b));
    const room = Math.max(20, (last - first) * 0.06);
    return [Math.max(0, first - room), Math.min(this.session.duration, last + 2 * room)];
  }

  makeCard() {
    const {region} = this, {peak, last} = measureMapped(this.mappings);
    const refused = this.mappings.filter((m) => m.state === "refused").length;
    const made = this.mappings.filter((m) => m.state === "mapped").length;
    const words = !this.mappings.length ? ["nothing was mapped"]
      : [`${made} mapping${made === 1 ? "" : "s"}`, `at most ${bytes(peak)} at a time`, `${bytes(last)} at the end`];
    if (refused) words.push(`${refused} refused`);
    return el("div", {class: "window card"},
      el("div", {class: "bar"},
        el("h2", {}, `Window of shmid ${region.shmid}`),
        el("span", {class: "soft"}, [region.size === undefined ? "" : `${bytes(region.size)}, `, words.join(", ")].join("")),
        this.mappings.length > 0 && el("span", {class: "legend push"},
          el("span", {}, el("i", {style: "background: var(--ro)"}), "read-only"),
          el("span", {}, el("i", {style: "background: var(--rw)"}), "read-write"),
          el("span", {}, el("i", {style: "border: 1.5px solid var(--bad)"}), "refused")),
        this.mappings.length > 0 && this.makeButtons()),
      this.mappings.length > 0 && this.svg);
  }

  makeButtons() {
    return el("span", {class: "buttons"},
      el("button", {onclick: () => this.show(this.busyTime())}, "fit mappings"),
      el("button", {onclick: () => this.show([0, this.session.duration])}, "fit session"),
      this.region.size !== undefined && el("button", {title: "the whole window, or the part that is used", onclick: () => { this.whole = !this.whole; this.draw(); }}, "height"));
  }

  show(domain) {
    this.domain = domain;
    this.draw();
  }

  get top() {
    return this.whole ? this.region.size : this.used;
  }

  x(time) {
    const [from, to] = this.domain;
    return CHART.left + ((time - from) / (to - from)) * this.width;
  }

  y(offset) {
    return CHART.top + (1 - offset / this.top) * (CHART.height - CHART.top - CHART.bottom);
  }

  draw() {
    this.width = this.svg.clientWidth - CHART.left - CHART.right;
    if (this.width <= 0) return;
    this.svg.replaceChildren(this.drawGround(), this.drawAxes(), this.drawMappings(), this.brush);
    this.brush.setAttribute("width", 0);
    this.mark(this.marked);
  }

  drawGround() {
    return svg("rect", {class: "hole", x: CHART.left, y: CHART.top, width: this.width, height: this.y(0) - CHART.top, rx: 3});
  }

  drawAxes() {
    const group = svg("g", {}), bottom = this.y(0);
    for (const offset of byteTicks(this.top, 8)) {
      const y = this.y(offset);
      group.append(svg("line", {class: "grid", x1: CHART.left, x2: CHART.left + this.width, y1: y, y2: y}),
        svg("text", {x: CHART.left - 8, y: y + 4, "text-anchor": "end"}, offset ? bytes(offset) : "0"));
    }
    const span = this.domain[1] - this.domain[0], unit = span > 2e6 ? [1e6, "s"] : span > 2000 ? [1000, "ms"] : [1, "µs"];
    for (const time of ticks(this.domain[0] / unit[0], this.domain[1] / unit[0], Math.max(2, this.width / 110))) {
      const x = this.x(time * unit[0]);
      group.append(svg("line", {class: "grid", x1: x, x2: x, y1: CHART.top, y2: bottom}),
        svg("text", {x, y: bottom + 16, "text-anchor": "middle"}, `${Number(time.toPrecision(9))} ${unit[1]}`));
    }
    return group;
  }

  /** Where it is drawn, or undefined if it is out of sight. */
  box(mapping) {
    const refused = mapping.state === "refused";
    const from = mapping.begin, to = refused ? from : mapping.end ?? this.session.duration;
    if (to < this.domain[0] || from > this.domain[1]) return undefined;
    const left = Math.max(CHART.left, this.x(from)), right = Math.min(CHART.left + this.width, this.x(to));
    const y = this.y(Math.min(this.top, mapping.shm_offset + mapping.len)), bottom = this.y(Math.min(this.top, mapping.shm_offset));
    return {x: left, y, width: Math.max(LEAST.width, right - left - 1), height: Math.max(LEAST.height, bottom - y - 1)};
  }

  /** One rectangle for each, or for all that would cover the very same pixels. */
  drawMappings() {
    const group = svg("g", {}), refused = svg("g", {}), drawn = new Set();
    this.shapes = new Map();
    this.crowded = this.mappings.filter((m) => m.state === "refused" && this.box(m)).length > this.width / CROWD;
    for (const mapping of this.mappings) {
      const box = this.box(mapping);
      if (!box) continue;
      const key = [mapping.state, mapping.readWrite, ...Object.values(box).map(Math.round)].join();
      if (drawn.has(key)) continue;
      drawn.add(key);
      const shape = mapping.state === "refused" ? this.drawRefused(mapping, box) : this.drawOne(mapping, box);
      this.shapes.set(mapping, shape);
      (mapping.state === "refused" ? refused : group).append(shape);
    }
    return svg("g", {}, group, refused);
  }

  drawOne(mapping, box) {
    const kind = `mapping ${mapping.readWrite ? "rw" : "ro"}${mapping.state === "pending" ? " pending" : ""}`;
    return svg("rect", {...box, class: kind, rx: Math.min(2, box.width / 2, box.height / 2), ...this.handlers(mapping),
      "data-shm-offset": mapping.shm_offset, "data-len": mapping.len});
  }

  drawRefused(mapping, box) {
    const x = box.x, y = box.y + box.height / 2, arm = this.crowded ? 2 : 3.3;
    return svg("g", {class: "refused", ...this.handlers(mapping), "data-shm-offset": mapping.shm_offset},
      !this.crowded && svg("rect", {x: x - 5, y: box.y, width: 10, height: box.height, rx: 2}),
      svg("path", {d: `M${x - arm} ${y - arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`}));
  }

  handlers(mapping) {
    return {
      onmousemove: (event) => showTip(event, this.describe(mapping)),
      onmouseleave: hideTip,
      onclick: () => this.choose(mapping.request),
    };
  }

  describe(mapping) {
    const {fd, end, state} = mapping;
    const life = state !== "mapped" ? {refused: "refused", pending: "no reply came"}[state]
      : end === undefined ? `${duration(this.session.duration - mapping.begin)}, to the session's end`
        : `${duration(end - mapping.begin)}, until ${mapping.endedBy.name}`;
    return [el("b", {}, fd?.name ? baseName(fd.name) : fd?.kind ?? "no fd"), definitions([
      ["file", fd && fdWords(fd)],
      ["in file at", hex(mapping.fd_offset)],
      ["in window at", hex(mapping.shm_offset)],
      ["length", `${hex(mapping.len)} (${bytes(mapping.len)})`],
      ["may", mapping.readWrite ? "read-write" : "read-only"],
      ["since", `${milliseconds(mapping.begin)} ms`],
      ["live", life],
      ["message", `#${mapping.request.n}`],
    ])];
  }

  mark(request) {
    this.marked = request;
    for (const [mapping, shape] of this.shapes ?? [])
      shape.classList.toggle("hot", request !== undefined && [mapping.request, mapping.endedBy].includes(request));
  }

  /** Dragging zooms to what was dragged over; a double click shows all again. */
  listen() {
    const time = (event) => {
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      const part = Math.min(1, Math.max(0, (x - CHART.left) / this.width));
      return this.domain[0] + part * (this.domain[1] - this.domain[0]);
    };
    this.svg.addEventListener("pointerdown", (down) => {
      const from = time(down);
      let to = from;
      const move = (event) => {
        to = time(event);
        const [a, b] = [this.x(Math.min(from, to)), this.x(Math.max(from, to))];
        fill(this.brush, {x: a, width: b - a, height: this.y(0) - CHART.top}, []);
      };
      const up = () => {
        removeEventListener("pointermove", move);
        if (Math.abs(this.x(to) - this.x(from)) > 5) this.show([Math.min(from, to), Math.max(from, to)]);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", up, {once: true});
    });
    this.svg.addEventListener("dblclick", () => this.show(this.busyTime()));
  }
}

function showTip(event, children) {
  const tip = byId("tip");
  tip.replaceChildren(...children);
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 16, innerWidth - width - 8)}px`;
  tip.style.top = `${Math.max(8, Math.min(event.clientY + 16, innerHeight - height - 8))}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
