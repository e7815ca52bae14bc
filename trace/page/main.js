// The page as a whole.

class Page {
  constructor(sessions) {
    this.sessions = sessions;
    this.sequence = new Sequence(byId("sequence"), (message) => this.select(message));
    for (const id of ["show-main", "show-back", "only-notes", "search"]) byId(id).addEventListener("input", () => this.filter());
    this.makePicker();
    const weight = (session) => session.mappings.length * 1e6 + session.messages.length;
    this.show(sessions.reduce((a, b) => (weight(b) > weight(a) ? b : a)));
    this.followLink();
  }

  /** "#2.17": message 17 of session 2. */
  followLink() {
    const [, session, number] = location.hash.match(/^#(\d+)\.(\d+)$/) ?? [];
    const linked = this.sessions.find((other) => other.number === Number(session));
    if (!linked) return;
    this.show(linked);
    this.select(linked.messages.find((message) => message.n === Number(number)));
  }

  makePicker() {
    if (this.sessions.length < 2) return;
    const picker = el("select", {"aria-label": "Session", onchange: () => this.show(this.sessions[picker.selectedIndex])},
      this.sessions.map((session) => el("option", {}, `session ${session.number}: ${session.messages.length} messages`)));
    this.picker = picker;
    byId("sessions").append(picker);
  }

  show(session) {
    this.session = session;
    if (this.picker) this.picker.selectedIndex = this.sessions.indexOf(session);
    this.showTitle(session.begin);
    drawTiles(session);
    this.maps = session.regions.map((region) => new WindowMap(session, region, (message) => this.choose(message)));
    byId("windows").replaceChildren(...this.maps.map((map) => map.node));
    for (const map of this.maps) map.draw();
    drawSummary(session);
    this.filter();
    this.select(undefined);
  }

  showTitle(begin) {
    if (!begin) return;
    const words = [begin.started, begin.dialect === "standard" ? "" : `dialect ${begin.dialect}`].filter(Boolean).join(", ");
    byId("title").replaceChildren(begin.listen, el("span", {class: "arrow"}, "⇄"), begin.connect, el("small", {}, words));
    document.title = `oriel trace: ${begin.connect}`;
  }

  filter() {
    const words = byId("search").value.toLowerCase();
    const matches = (record) => [record.name, record.text, ...(record.fds ?? []).map((fd) => fd.name), ...(record.notes ?? [])]
      .some((text) => text?.toLowerCase().includes(words));
    this.sequence.show(this.session, (record) => {
      if (record.channel && !byId(isBack(record) ? "show-back" : "show-main").checked) return false;
      if (byId("only-notes").checked && record.type === "message" && !record.notes.length && !isRefused(record)) return false;
      return !words || matches(record);
    });
  }

  select(message) {
    this.sequence.mark(message);
    showDetail(message, (other) => this.select(other));
    if (message) history.replaceState(null, "", `#${this.session.number}.${message.n}`);
    for (const map of this.maps) map.mark(message && (message.kind === "reply" ? message.partner : message));
  }

  /** From a window: the message is to be seen, whatever the filter says. */
  choose(message) {
    if (!this.sequence.indexOf.has(message)) {
      byId("search").value = "";
      byId("show-back").checked = true;
      byId("only-notes").checked = false;
      this.filter();
    }
    this.select(message);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const sessions = makeSessions(readRecords(byId("records").textContent)).filter((session) => session.number > 0);
  if (sessions.length) new Page(sessions);
  else document.querySelector("main").replaceChildren(el("p", {class: "empty"}, "No session was recorded."));
});
