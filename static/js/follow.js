// Follow the list of requests: new rows only, and nothing while the tab is hidden.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const ROWS_MAX = 200;
  let timer = 0;
  let isAsking = false;

  const list = () => document.getElementById("list");
  const button = () => document.getElementById("follow");
  const body = () => document.querySelector("#list tbody");
  const isOn = () => button()?.getAttribute("aria-pressed") === "true";

  function schedule() {
    clearTimeout(timer);
    if (isOn() && !document.hidden) timer = setTimeout(ask, EVERY_MS);
  }

  async function ask() {
    if (isAsking || !isOn() || document.hidden || !body()) return;
    isAsking = true;
    const filters = new URLSearchParams(list().dataset.filters);
    const first = body().rows[0];
    if (first) filters.set("after", first.dataset.place);
    const waiting = [...body().querySelectorAll("tr[data-pending]")].slice(0, 50);
    if (waiting.length) filters.set("waiting", waiting.map((row) => row.dataset.id).join(","));
    try {
      const answer = await fetch(`${list().dataset.newRows}?${filters}`);
      if (answer.redirected || !answer.ok) {
        stop(answer.redirected ? "You are signed out." : "Following stopped: unexpected answer from the server.");
        return;
      }
      const { added, updated } = place(await answer.text());
      if (added) announce(added === 1 ? "1 new request" : `${added} new requests`);
      else if (updated) announce("A request has finished");
      state("Following");
    } catch {
      state("No connection. Retrying");
    } finally {
      isAsking = false;
      schedule();
    }
  }

  function place(text) {
    const parsed = document.createElement("template");
    parsed.innerHTML = `<table><tbody>${text}</tbody></table>`;
    const rows = [...parsed.content.querySelectorAll("tr[data-id]")];
    let added = 0;
    let updated = 0;
    for (const row of rows) {
      const known = document.getElementById(row.id);
      if (known) {
        if (known.dataset.pending !== undefined && row.dataset.pending === undefined) {
          known.replaceWith(row);
          updated += 1;
        }
      } else if (insert(row)) {
        added += 1;
      }
    }
    while (body().rows.length > ROWS_MAX) body().lastElementChild.remove();
    return { added, updated };
  }

  // Newest first. A row older than all that are shown is an old one that has left the list.
  function insert(row) {
    const later = [...body().rows].find((shown) => shown.dataset.place < row.dataset.place);
    if (!later && body().rows.length) return false;
    row.classList.add("is-new");
    body().insertBefore(row, later ?? null);
    document.getElementById("no-rows")?.remove();
    document.getElementById("rows").hidden = false;
    return true;
  }

  function announce(text) {
    document.getElementById("follow-news").textContent = text;
  }

  function state(text) {
    document.getElementById("follow-state").textContent = isOn() ? text : "";
  }

  function stop(text) {
    button()?.setAttribute("aria-pressed", "false");
    state("");
    announce(text);
    document.getElementById("follow-state").textContent = text;
  }

  function remember() {
    const address = new URL(location);
    if (isOn()) address.searchParams.set("live", "on");
    else address.searchParams.delete("live");
    history.replaceState(history.state, "", address);
  }

  function start() {
    if (!button()) return;
    button().hidden = false;
    if (new URL(location).searchParams.get("live") === "on") {
      button().setAttribute("aria-pressed", "true");
      state("Following");
      ask();
    }
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#follow")) return;
    button().setAttribute("aria-pressed", String(!isOn()));
    state("Following");
    remember();
    if (isOn()) ask();
    else clearTimeout(timer);
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) ask();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id === "list") start();
  });
  start();
})();
