// The chat page: who you are, what is said, who is here. All that is shared comes from the host as live answers.

import { HubbubError, connect } from "./_hub/hubbub.js";
import { Timeline, faceOf, make } from "./timeline.js";

/** @typedef {import("./_hub/hubbub.js").Hub} Hub */
/** @typedef {import("./_hub/hubbub.js").State} State */
/** @typedef {import("./timeline.js").Line} Line */
/** @typedef {import("./timeline.js").Pending} Pending */

const NAME_KEY = "chat.name";
const DRAFT_KEY = "chat.draft";
/** Shorter breaks are nobody's concern. */
const BANNER_AFTER_MS = 700;
const TOAST_MS = 7000;
const TRANSPORTS = { ws: "WebSocket", sse: "Event stream", poll: "Long-poll" };

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
const body = document.body;
const text = /** @type {HTMLTextAreaElement} */ ($("text"));
const nameInput = /** @type {HTMLInputElement} */ ($("name"));
const dialog = /** @type {HTMLDialogElement} */ ($("name-dialog"));
const title = document.title;

/** @type {Hub | undefined} */
let hub;
let nextPending = 1;
const timeline = new Timeline($("lines"), $("scroller"), $("empty"), $("down"), { again, discard });

// --- who you are -------------------------------------------------------------------------------------------------------

/** @param {string} name */
async function enter(name) {
  const params = new URLSearchParams(location.search);
  // ?transports=poll shows the page over that transport alone.
  const transports = /** @type {("ws" | "sse" | "poll")[] | undefined} */ (params.get("transports")?.split(","));
  const button = /** @type {HTMLButtonElement} */ (document.querySelector("#name-form button"));
  button.disabled = true;
  $("name-error").textContent = "";
  try {
    hub = await connect("./", { name, onState, ...(transports && { transports }) });
  } catch (error) {
    askName(error instanceof HubbubError ? error.message : "That did not work.", name);
    return;
  } finally {
    button.disabled = false;
  }
  remember(localStorage, NAME_KEY, name);
  dialog.close();
  welcome(hub);
}

/** @param {Hub} hub */
function welcome(hub) {
  onState(hub.state);
  timeline.me = hub.identity.name;
  $("me").hidden = false;
  $("me-name").textContent = hub.identity.name;
  text.disabled = false;
  text.value = recall(sessionStorage, DRAFT_KEY);
  grow();
  text.focus({ preventScroll: true });
  hub.on("fault", (error) => {
    if (hub.state === "ended") ended(error);
    else console.warn("hubbub:", error.message);
  });
  const room = hub.ref("room");
  const onError = (/** @type {HubbubError} */ error) => toast(error.message);
  room.watch("recent", { limit: 100 }, (/** @type {Line[]} */ lines) => {
    timeline.me = hub.identity.name;
    timeline.update(lines);
    showTitle();
  }, { onError });
  room.watch("people", showPeople, { onError });
}

/** @param {string} error @param {string} [name] */
function askName(error = "", name = "") {
  nameInput.value = name;
  if (!dialog.open) dialog.showModal();
  $("name-error").textContent = error;
  nameInput.select();
}

$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = nameInput.value.trim();
  if (name) void enter(name);
  else nameInput.focus();
});
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => hub || askName());

$("rename").addEventListener("click", () => {
  hub?.close();
  remember(localStorage, NAME_KEY, "");
  location.reload();
});

// --- what is said ------------------------------------------------------------------------------------------------------

/** @param {string} said */
async function say(said) {
  if (!hub) return;
  /** @type {Pending} */
  const pending = { id: nextPending++, text: said, at: Date.now() / 1000, state: "sending" };
  if (said.trim()) timeline.pending.push(pending);
  timeline.read();
  timeline.render();
  timeline.toEnd();
  try {
    await hub.call("say", { text: said });
    pending.state = "done"; // and durable; the line itself comes with the room's next answer
    timeline.render();
    setTimeout(() => discard(pending), 2000);
  } catch (error) {
    if (error instanceof HubbubError && error.kind === "outcome_unknown") {
      pending.state = "unknown";
      timeline.render();
      return;
    }
    discard(pending);
    giveBack(said);
    toast(error instanceof Error ? error.message : String(error));
  }
}

/** @param {Pending} pending */
function discard(pending) {
  timeline.pending = timeline.pending.filter((p) => p !== pending);
  timeline.render();
}

/** @param {Pending} pending */
function again(pending) {
  discard(pending);
  text.focus();
  void say(pending.text);
}

/** A refused line goes back where it can be mended, before what was typed since. @param {string} said */
function giveBack(said) {
  text.value = text.value ? `${said}\n${text.value}` : said;
  onTyped();
  text.focus();
}

function send() {
  const said = text.value;
  if (!said) return;
  text.value = "";
  onTyped();
  hideToast();
  void say(said);
}

function onTyped() {
  remember(sessionStorage, DRAFT_KEY, text.value);
  grow();
}

/** Where the browser does not size the box by itself. */
function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
text.addEventListener("input", onTyped);
text.addEventListener("keydown", (event) => {
  // An Enter that ends a composition (Japanese, Chinese…) is not meant to send.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
// A tap on the button must not close a phone's keyboard.
document.querySelector("#composer button")?.addEventListener("pointerdown", (event) => event.preventDefault());
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || dialog.open) return;
  hideToast();
  timeline.toEnd();
  text.focus();
});

// --- who is here -------------------------------------------------------------------------------------------------------

/** @param {string[]} names */
function showPeople(names) {
  $("people-count").textContent = String(names.length);
  $("people").replaceChildren(
    ...names.map((name) => {
      const item = make("li", "");
      item.append(faceOf(name), make("span", "name", name));
      if (name === hub?.identity.name) item.append(make("span", "you", "you"));
      return item;
    }),
  );
}

// --- how it goes -------------------------------------------------------------------------------------------------------

let brokenAt = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let bannerTimer;
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticking;

/** @param {State} state */
function onState(state) {
  body.dataset.state = state;
  if (hub) body.dataset.transport = hub.transport;
  const transport = hub && TRANSPORTS[hub.transport];
  const words = { live: `Live · ${transport}`, connecting: "Connecting", reconnecting: "Reconnecting", ended: "Signed out" };
  if (state !== "live" || hub) $("status-text").textContent = words[state];
  clearTimeout(bannerTimer);
  clearInterval(ticking);
  if (state === "live") {
    if (!$("banner").hidden && hub) {
      banner("Connected again.", "good");
      bannerTimer = setTimeout(() => ($("banner").hidden = true), 1800);
    } else $("banner").hidden = true;
    brokenAt = 0;
  } else if (state !== "ended") {
    brokenAt ||= Date.now();
    bannerTimer = setTimeout(() => {
      showBroken();
      ticking = setInterval(showBroken, 10_000);
    }, state === "connecting" ? 2000 : BANNER_AFTER_MS);
  }
}

function showBroken() {
  const since = new Date(brokenAt).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  banner(hub ? `No connection since ${since}. What you write is kept and sent after.` : `No connection yet. Trying since ${since}.`);
}

/** @param {string} words @param {"" | "good" | "bad"} tone */
function banner(words, tone = "") {
  // The same words again would be read out again.
  if ($("banner-text").textContent !== words) $("banner-text").textContent = words;
  $("banner").className = tone;
  $("banner").hidden = false;
}

/** @param {HubbubError} error */
function ended(error) {
  banner(error.code === "replaced" ? "You are in the room from somewhere else." : `The session has ended: ${error.message}`, "bad");
  const button = make("button", "", "Come back here");
  button.addEventListener("click", () => location.reload());
  $("banner-text").append(button);
  text.disabled = true;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let toastTimer;

/** @param {string} words */
function toast(words) {
  const box = $("toast");
  box.hidden = false;
  box.textContent = words;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hideToast, TOAST_MS);
}

function hideToast() {
  $("toast").hidden = true;
}

function showTitle() {
  document.title = timeline.unread ? `(${timeline.unread}) ${title}` : title;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) timeline.hide();
  else timeline.show();
  showTitle();
});

// --- small things ------------------------------------------------------------------------------------------------------

/** @param {Storage} store @param {string} key @param {string} value */
function remember(store, key, value) {
  try {
    if (value) store.setItem(key, value);
    else store.removeItem(key);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

/** @param {Storage} store @param {string} key */
function recall(store, key) {
  try {
    return store.getItem(key) ?? "";
  } catch {
    return "";
  }
}

const known = recall(localStorage, NAME_KEY);
if (known) void enter(known);
else askName();
