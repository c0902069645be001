// A chat over long-polls alone: a command to say something, a stream of what is said.

import { connect } from "./_hub/hubbub.js";

const MOST_LINES = 500;
const STATES = { idle: "Not listening", connecting: "Connecting", live: "Listening", reconnecting: "Connecting again", ended: "Ended" };

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
const name = /** @type {HTMLInputElement} */ ($("name"));
const text = /** @type {HTMLInputElement} */ ($("text"));
const send = /** @type {HTMLButtonElement} */ ($("send"));

/** @type {import("./_hub/hubbub.js").Hub | undefined} */
let hub;

/** @param {string} state */
function onState(state) {
  document.body.dataset.state = state;
  $("status-text").textContent = STATES[state];
}

/** @param {string} said @param {string} [kind] */
function show(said, kind = "") {
  const scroller = $("scroller");
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  const line = document.createElement("li");
  line.className = kind;
  const [, author, rest] = /^([^:]{1,40}): (.*)$/s.exec(said) ?? [];
  if (author && !kind) {
    const who = document.createElement("b");
    who.textContent = author;
    line.append(who, rest);
  } else {
    line.textContent = said;
  }
  const lines = $("lines");
  lines.append(line);
  if (lines.children.length > MOST_LINES) lines.firstElementChild?.remove();
  $("empty").hidden = true;
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}

/** @param {string} message */
function banner(message) {
  $("banner").hidden = !message;
  $("banner-text").textContent = message;
  $("again").hidden = !hub;
}

/** Hear what is said from now on. Too slow, and the hub ends it and says why. */
function listen() {
  banner("");
  hub?.stream("lines", (/** @type {string} */ line) => show(line), {
    onGap: () => show("Something was said here that did not reach you.", "gap"),
    onError: (error) =>
      banner(error.code === "too_slow" ? "You were too slow, and missed what was said." : error.message),
  });
}

async function enter() {
  send.disabled = true;
  try {
    hub = await connect("./", { name: name.value.trim(), transports: ["poll"], onState });
  } catch (error) {
    onState("idle");
    banner(error instanceof Error ? error.message : String(error));
    return;
  } finally {
    send.disabled = false;
  }
  onState(hub.state);
  document.body.classList.add("named");
  text.disabled = false;
  send.textContent = "Say";
  listen();
  text.focus();
}

async function say() {
  const said = text.value.trim();
  if (!said || !hub) return;
  text.value = "";
  try {
    await hub.call("say", { text: said });
  } catch (error) {
    text.value = said;
    banner(error instanceof Error ? error.message : String(error));
  }
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  void (hub ? say() : enter());
});
$("again").addEventListener("click", listen);
name.focus();
