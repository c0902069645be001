// The conversation on the page: lines grouped by author and minute, day separators, the mark where you left off, and
// your own lines that are still on their way. The host's list is the truth; this only shows it.

/** @typedef {{author: string, text: string, at: number}} Line */
/** @typedef {{id: number, text: string, at: number, state: "sending" | "done" | "unknown"}} Pending */
/** @typedef {{again: (pending: Pending) => void, discard: (pending: Pending) => void}} Actions */

const KEPT = 500;
const NEAR_PX = 90;

/** @param {string} name */
export function hueOf(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return (hash * 137.508) % 360;
}

/** @param {string} name @returns {HTMLElement} */
export function faceOf(name) {
  const face = make("span", "face", initials(name));
  face.setAttribute("aria-hidden", "true");
  face.style.setProperty("--hue", String(hueOf(name)));
  return face;
}

/** @param {string} name */
const initials = (name) => {
  const words = name.trim().split(/\s+/);
  return (words.length > 1 ? words.slice(0, 2).map((word) => [...word][0]) : [...name.trim()].slice(0, 2)).join("").toUpperCase();
};

/** @param {string} tag @param {string} className @param {string} [text] */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export class Timeline {
  /** @type {Line[]} */ lines = [];
  /** @type {Pending[]} */ pending = [];
  me = "";
  unread = 0;
  /** @type {(string | undefined)} The last line before the tab was hidden. */ #leftOff;
  /** @type {string[]} */ #keys = [];
  /** @type {Map<string, HTMLElement>} */ #shown = new Map();
  #first = true;

  /** @param {HTMLElement} list @param {HTMLElement} scroller @param {HTMLElement} empty @param {HTMLElement} down @param {Actions} actions */
  constructor(list, scroller, empty, down, actions) {
    this.list = list;
    this.scroller = scroller;
    this.empty = empty;
    this.down = down;
    this.actions = actions;
    down.addEventListener("click", () => this.toEnd());
    scroller.addEventListener("scroll", () => this.atEnd() && (down.hidden = true), { passive: true });
    // What changes the room for the lines (a keyboard, a growing text box) must not hide the newest.
    let end = true;
    scroller.addEventListener("scroll", () => (end = this.atEnd()), { passive: true });
    new ResizeObserver(() => end && this.toEnd()).observe(scroller);
  }

  /** Take in the host's newest lines. Older ones that were shown stay, as long as nothing is missing between. */
  update(/** @type {Line[]} */ newest) {
    const before = new Set(this.#keys);
    const keys = keysOf(newest);
    const overlap = keys.length ? this.#keys.indexOf(keys[0] ?? "") : -1;
    const kept = overlap > 0 ? this.lines.slice(0, overlap) : [];
    this.lines = [...kept, ...newest].slice(-KEPT);
    this.#keys = [...this.#keys.slice(0, kept.length), ...keys].slice(-KEPT);
    let fresh = 0;
    newest.forEach((line, i) => {
      const key = keys[i] ?? "";
      if (before.has(key)) return;
      if (line.author === this.me) this.#arrived(line, key);
      else fresh++;
    });
    this.pending = this.pending.filter((p) => p.state !== "done");
    if (document.hidden && !this.#first) this.unread += fresh;
    if (!document.hidden && fresh && !this.#first && !this.atEnd()) this.down.hidden = false;
    this.render();
    if (this.#first) {
      this.#first = false;
      this.toEnd();
      // Only what is said from now on is read out.
      requestAnimationFrame(() => this.scroller.setAttribute("aria-live", "polite"));
    }
  }

  /** My line came back from the host: what stood for it becomes it. */
  #arrived(/** @type {Line} */ line, /** @type {string} */ key) {
    const index = this.pending.findIndex((p) => p.text === line.text && p.state !== "unknown");
    if (index < 0) return;
    const [pending] = this.pending.splice(index, 1);
    const element = this.#shown.get(`pending ${pending?.id}`);
    if (element) {
      this.#shown.delete(`pending ${pending?.id}`);
      this.#shown.set(key, element);
    }
  }

  hide() {
    this.#leftOff = this.#keys.at(-1);
    this.unread = 0;
    this.render();
  }

  show() {
    this.unread = 0;
  }

  /** Who speaks has read. */
  read() {
    this.#leftOff = undefined;
  }

  atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.down.hidden = true;
  }

  render() {
    const stick = this.atEnd();
    /** @type {[string, () => HTMLElement, ((element: HTMLElement) => void)?][]} */
    const wanted = [];
    const all = [...this.lines, ...this.pending.map((p) => ({ author: this.me, text: p.text, at: p.at }))];
    const settled = this.lines.length;
    all.forEach((line, i) => {
      const before = all[i - 1];
      const day = dayOf(line.at);
      const newDay = !before || dayOf(before.at) !== day;
      if (newDay) wanted.push([`day ${day}`, () => make("li", "day", dayName(line.at))]);
      // The mark stands before the first line of somebody else, as yours are no news to you.
      const mark =
        i < settled && this.#leftOff !== undefined && this.#keys[i - 1] === this.#leftOff && line.author !== this.me;
      if (mark) wanted.push(["new", () => make("li", "new", "New")]);
      const first = newDay || mark || !together(before, line);
      const after = all[i + 1];
      const last = !after || !together(line, after) || dayOf(after.at) !== day || this.#keys[i] === this.#leftOff;
      const pending = this.pending[i - settled];
      const key = i < settled ? (this.#keys[i] ?? "") : `pending ${pending?.id}`;
      wanted.push([
        key,
        () => this.#makeLine(line),
        (element) => {
          element.classList.toggle("first", first);
          element.classList.toggle("last", last);
          element.classList.toggle("own", line.author === this.me);
          this.#showState(element, i < settled ? undefined : pending);
        },
      ]);
    });
    this.#place(wanted);
    this.empty.hidden = all.length > 0;
    if (stick) this.toEnd();
  }

  #place(/** @type {[string, () => HTMLElement, ((element: HTMLElement) => void)?][]} */ wanted) {
    const keys = new Set(wanted.map(([key]) => key));
    for (const [key, element] of this.#shown) {
      if (keys.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    let next = this.list.firstElementChild;
    for (const [key, build, adjust] of wanted) {
      let element = this.#shown.get(key);
      if (!element) this.#shown.set(key, (element = build()));
      adjust?.(element);
      if (element === next) next = next.nextElementSibling;
      else this.list.insertBefore(element, next);
    }
  }

  #makeLine(/** @type {Line} */ line) {
    const element = make("li", "line");
    element.dataset.author = line.author;
    element.style.setProperty("--hue", String(hueOf(line.author)));
    const meta = make("div", "meta");
    const time = /** @type {HTMLTimeElement} */ (make("time", "", timeOf(line.at)));
    time.dateTime = new Date(line.at * 1000).toISOString();
    time.title = new Date(line.at * 1000).toLocaleString();
    meta.append(make("span", "author", line.author), time);
    element.append(faceOf(line.author), meta, make("p", "text", line.text), make("div", "state", ""));
    return element;
  }

  #showState(/** @type {HTMLElement} */ element, /** @type {Pending | undefined} */ pending) {
    const state = pending?.state ?? "";
    if (element.dataset.sent === state) return;
    element.dataset.sent = state;
    element.classList.toggle("sending", state === "sending");
    element.classList.toggle("unknown", state === "unknown");
    const note = element.querySelector(".state");
    if (!note) return;
    note.textContent = state === "sending" ? "Sending…" : state === "unknown" ? "Perhaps not sent." : "";
    if (!pending || state !== "unknown") return;
    for (const [label, run] of /** @type {const} */ ([["Send again", this.actions.again], ["Discard", this.actions.discard]])) {
      const button = make("button", "", label);
      button.addEventListener("click", () => run(pending));
      note.append(button);
    }
  }
}

/** Lines have no number: author, time and text tell them apart, and a count where even these are the same. */
function keysOf(/** @type {Line[]} */ lines) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return lines.map((line) => {
    const key = JSON.stringify([line.at, line.author, line.text]);
    const count = seen.get(key) ?? 0;
    seen.set(key, count + 1);
    return count ? `${key} ${count}` : key;
  });
}

const minuteOf = (/** @type {number} */ at) => Math.floor(at / 60);
const dayOf = (/** @type {number} */ at) => new Date(at * 1000).toDateString();
const timeOf = (/** @type {number} */ at) =>
  new Date(at * 1000).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });

const together = (/** @type {Line | undefined} */ a, /** @type {Line} */ b) =>
  a !== undefined && a.author === b.author && minuteOf(a.at) === minuteOf(b.at);

function dayName(/** @type {number} */ at) {
  const date = new Date(at * 1000);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at * 1000).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", year });
}
