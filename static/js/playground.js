// The playground with scripts: the answer appears as it is written. Without, the form is sent whole.
"use strict";

(() => {
  const form = document.getElementById("playground");
  if (!form) return;
  const $ = (id) => document.getElementById(id);
  const send = $("send");
  const stop = $("stop");
  const answer = $("answer");
  // The form's own fields, which are sent as headers.
  const OF_FORM = ["csrfmiddlewaretoken", "form_organization"];
  let running = null;

  const money = (eur) => {
    if (eur === null || eur === undefined) return "–";
    // As many digits as are significant: four below one euro, cents above.
    const digits = eur > 0 && eur < 1 ? Math.min(9, Math.max(2, 3 - Math.floor(Math.log10(eur)))) : 2;
    const text = eur.toFixed(digits);
    const [whole, fraction] = text.split(".");
    return `${whole}.${fraction.replace(/0+$/, "").padEnd(2, "0")}\u00a0€`;
  };
  const count = (number) => (number ?? null) === null ? "–" : number.toLocaleString("en");

  function body() {
    const values = Object.fromEntries(
      [...new FormData(form)].filter(([name, value]) => !OF_FORM.includes(name) && value !== ""),
    );
    if (values.maxTokens) values.maxTokens = Number(values.maxTokens);
    return { ...values, stream: true };
  }

  function begin() {
    $("waiting-for-answer").hidden = true;
    answer.hidden = false;
    $("answer-text").hidden = false;
    $("answer-text").textContent = "";
    $("answer-error").hidden = true;
    $("answer-facts").hidden = true;
    $("trace").replaceChildren();
    $("answer-link").hidden = true;
    badge("wait", "…", "waiting");
    send.setAttribute("aria-busy", "true");
    send.disabled = true;
    stop.hidden = false;
  }

  function badge(tone, sign, word) {
    const status = $("answer-status");
    status.className = `status ${tone}`;
    status.textContent = `${sign} ${word}`;
  }

  function end() {
    running = null;
    send.removeAttribute("aria-busy");
    send.disabled = false;
    stop.hidden = true;
  }

  function done(result) {
    badge("good", "✓", "ok");
    $("fact-cost").textContent = money(result.estimatedCostEur);
    $("fact-cost").title = `${result.estimatedCostEur} EUR`;
    $("fact-tokens").textContent = `${count(result.inputTokens)} in, ${count(result.outputTokens)} out`;
    $("fact-model").textContent = `${result.model}, ${result.provider}`;
    $("fact-latency").textContent = `${count(result.latencyMs)} ms`;
    $("answer-facts").hidden = false;
  }

  function failed(result) {
    badge("bad", "✕", result.code || "failed");
    $("answer-error").hidden = false;
    $("answer-error").textContent = result.error;
    if (!$("answer-text").textContent) $("answer-text").hidden = true;
  }

  // The request's own page tells the story; here it is shown below the answer, and in the list.
  async function explain(requestId) {
    if (!requestId) return;
    const address = `${form.dataset.requests}/${requestId}`;
    $("answer-link").hidden = false;
    $("answer-link").querySelector("a").href = address;
    const [story, row] = await Promise.all([
      fetch(address, { headers: { "HX-Request": "true" } }),
      fetch(`${form.dataset.newRows}?requestId=${requestId}`),
    ]);
    if (story.ok) $("trace").innerHTML = await story.text();
    if (row.ok) list(await row.text());
  }

  function list(text) {
    const parsed = document.createElement("template");
    parsed.innerHTML = `<table><tbody>${text}</tbody></table>`;
    const rows = document.querySelector("#recent tbody");
    for (const row of parsed.content.querySelectorAll("tr[data-id]")) {
      document.getElementById(row.id)?.remove();
      row.classList.add("is-new");
      rows.prepend(row);
    }
    while (rows.rows.length > 5) rows.lastElementChild.remove();
    $("recent").hidden = false;
    $("nothing-recent")?.remove();
  }

  function event(name, data) {
    const result = JSON.parse(data);
    if (name === "delta") {
      badge("wait", "…", "answering");
      $("answer-text").append(result.content);
    } else if (name === "done") {
      done(result);
    } else {
      failed(result);
    }
    return result.requestId;
  }

  async function read(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    let requestId = response.headers.get("x-pulse-request-id");
    for (;;) {
      const { done: isOver, value } = await reader.read();
      if (isOver) return requestId;
      waiting += value;
      const events = waiting.split("\n\n");
      waiting = events.pop();
      for (const each of events) {
        const name = /^event: (.*)$/m.exec(each)?.[1];
        const data = /^data: (.*)$/m.exec(each)?.[1];
        if (name && data) requestId = event(name, data) ?? requestId;
      }
    }
  }

  async function ask() {
    running = new AbortController();
    begin();
    let requestId = null;
    try {
      const response = await fetch(form.dataset.api, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
          "X-Pulse-Organization": form.elements.form_organization.value,
        },
        body: JSON.stringify(body()),
        signal: running.signal,
      });
      requestId = response.headers.get("x-pulse-request-id");
      if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
        requestId = await read(response);
      } else {
        const result = await response.json();
        if (result.code === "ambiguous_credentials") form.submit(); // its page offers both choices
        failed(result);
      }
    } catch (error) {
      if (error.name === "AbortError") {
        badge("wait", "?", "stopped");
        $("answer-error").hidden = false;
        $("answer-error").textContent = "Stopped. What the provider billed until then is charged.";
      } else {
        failed({ code: "no connection", error: "The gateway cannot be reached. Check recent requests before you send it again." });
      }
    }
    end();
    await explain(requestId).catch(() => {});
  }

  form.addEventListener("submit", (submitted) => {
    if (!form.reportValidity()) return;
    submitted.preventDefault();
    if (!running) ask();
  });
  stop.addEventListener("click", () => running?.abort());
  form.elements.prompt.addEventListener("keydown", (pressed) => {
    if (pressed.key === "Enter" && (pressed.ctrlKey || pressed.metaKey)) {
      pressed.preventDefault();
      form.requestSubmit();
    }
  });
})();
