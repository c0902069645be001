import { connect } from "./_hub/hubbub.js";

const list = document.querySelector("ul");
const form = document.querySelector("form");
const state = document.querySelector("#state");

const hub = await connect("./");
hub.on("state", (now) => { state.textContent = now; });
state.textContent = "live";

hub.ref("board").watch("all", {}, (entries) => {
  list.replaceChildren(...Object.entries(entries).map(([key, entry]) => {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: entry.done });
    box.onchange = () => hub.call("tick", { key, done: box.checked });
    const text = Object.assign(document.createElement("span"), { textContent: entry.text });
    if (entry.done) text.className = "done";
    label.append(box, text, Object.assign(document.createElement("small"), { textContent: entry.by }));
    item.append(label);
    return item;
  }));
});

form.onsubmit = async (event) => {
  event.preventDefault();
  const text = form.text.value;
  form.reset();
  try {
    await hub.call("add", { text });
  } catch (error) {
    form.text.value = text;
    state.textContent = error.message;
  }
};
