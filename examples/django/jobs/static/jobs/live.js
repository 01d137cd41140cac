// Keeps parts of the page as the server would render them now. It asks each second: that costs one query of the
// database, and usually gets a 304.
"use strict";

const INTERVAL_MS = 1000;
const AFTER_FAILURE_MS = 3000;

async function refresh(element) {
  const response = await fetch(element.dataset.live, { cache: "no-cache" });
  if (response.redirected) location.reload(); // logged out
  if (!response.ok) throw new Error(response.statusText);
  const html = await response.text();
  if (element.shown !== html) element.innerHTML = element.shown = html; // the template has escaped it
}

async function live(element) {
  let pause = INTERVAL_MS;
  if (!document.hidden) {
    try {
      await refresh(element);
      document.body.classList.remove("is-offline");
    } catch {
      document.body.classList.add("is-offline");
      pause = AFTER_FAILURE_MS * (0.5 + Math.random());
    }
  }
  setTimeout(live, pause, element);
}

document.querySelectorAll("[data-live]").forEach(live);
