// push and pull, as in cogen's chat: one request says something, another waits for what is said.

const MOST_LINES = 500;
const PAUSE_MS = 1000;

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
const name = /** @type {HTMLInputElement} */ ($("name"));
const text = /** @type {HTMLInputElement} */ ($("text"));

/** What the server knows this page by: its queue. */
const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
let listening = false;

/** @param {string} state @param {string} words */
function show(state, words) {
  document.body.dataset.state = state;
  $("status-text").textContent = words;
}

/** @param {string} message */
function banner(message) {
  $("banner").hidden = !message;
  $("banner-text").textContent = message;
}

/** @param {string} said */
function add(said) {
  const scroller = $("scroller");
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  const line = document.createElement("li");
  const [, author, rest] = /^([^:]{1,40}): (.*)$/s.exec(said) ?? [];
  if (author) {
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

async function listen() {
  if (listening) return;
  listening = true;
  banner("");
  show("connecting", "Connecting");
  while (listening) {
    try {
      const answer = await pull();
      if (answer.status === 410) {
        // Dropped: the next pull begins a new queue.
        listening = false;
        banner("You were too slow, and missed what was said.");
        show("ended", "Dropped");
      } else if (answer.ok) {
        for (const line of (await answer.text()).split("\r\n").slice(0, -1)) add(line);
      } else {
        throw new Error(answer.statusText);
      }
    } catch {
      show("reconnecting", "Connecting again");
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }
}

async function pull() {
  const answer = fetch("chat/pull", { headers: { "X-Client": key }, cache: "no-store" });
  // A poll that waits says nothing; one that can't be sent fails at once.
  const waits = setTimeout(() => show("live", "Listening"), 250);
  try {
    return await answer;
  } finally {
    clearTimeout(waits);
  }
}

$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!document.body.classList.contains("named")) {
    document.body.classList.add("named");
    text.disabled = false;
    $("send").textContent = "Say";
    text.focus();
    await listen();
    return;
  }
  const said = text.value.trim();
  if (!said) return;
  text.value = "";
  try {
    const answer = await fetch("chat/push", { method: "POST", body: `${name.value.trim()}: ${said}` });
    if (!answer.ok) throw new Error(answer.statusText);
  } catch {
    text.value = said;
    banner("That was not said: there is no connection.");
  }
});
$("again").addEventListener("click", listen);
name.focus();
