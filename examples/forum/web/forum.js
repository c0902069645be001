// The page works without this. With it what is shown stays live, and times are local.
"use strict"

const list = document.querySelector("#list")
const status = document.querySelector("#status")
const live = document.body.dataset.live

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    const date = new Date(time.dateTime)
    time.textContent = date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })
  }
}

function tell(state, text) {
  document.body.dataset.state = state
  status.textContent = text
}

if (live) {
  const events = new EventSource(live)
  events.onopen = () => tell("live", "live")
  events.onerror = () => tell("away", "reconnecting…")
  events.onmessage = event => {
    if (event.data === list.dataset.shown) return
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 4
    list.innerHTML = list.dataset.shown = event.data // escaped by the server
    localTimes()
    if (atEnd && list.matches(".postings")) scrollTo(0, document.documentElement.scrollHeight)
  }
}

const author = document.querySelector("[name=author]")
if (author) {
  author.value = localStorage.getItem("author") ?? ""
  author.form.addEventListener("submit", () => localStorage.setItem("author", author.value))
}
localTimes()
