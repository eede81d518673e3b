// On every page: copy buttons, questions in a dialog, and what to say when the network fails.
"use strict";

(() => {
  const notices = document.getElementById("notices");
  const dialog = document.getElementById("dialog");

  // What only works with scripts is shown only where they run.
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

  // Not scrollIntoView: Chromium lets Tab go on from the element that it scrolls to.
  const here = document.querySelector(".site-nav [aria-current]");
  if (here) {
    const nav = here.closest(".site-nav");
    const [inner, outer] = [here.getBoundingClientRect(), nav.getBoundingClientRect()];
    nav.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  }

  function say(text, tone) {
    const message = document.createElement("div");
    message.className = `message ${tone}`;
    message.setAttribute("role", "alert");
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    message.append(paragraph);
    notices?.replaceChildren(message);
    message.scrollIntoView({ block: "nearest" });
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: press Ctrl + C";
    }
    setTimeout(() => { button.textContent = label; }, 2500);
  }

  document.addEventListener("click", (event) => {
    const copying = event.target.closest("[data-copy]");
    if (copying) copy(copying);
    if (event.target.closest("[data-print]")) print();
    if (event.target.closest("[data-close]") && dialog?.open) {
      event.preventDefault();
      dialog.close();
    }
    if (event.target === dialog) dialog.close();
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (event.key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
  });

  // What was typed since takes the place of a question on its way; htmx would log that as an error.
  if (window.htmx) {
    htmx.logger = (element, name, detail) => {
      const isGivenUp = detail.xhr?.status === 0 && ["htmx:afterRequest", "htmx:sendAbort"].includes(name);
      if (isGivenUp) delete detail.error;
    };
  }

  // Questions come as pages of their own; with scripts they open above the page.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === dialog && !dialog.open) dialog.showModal();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    if (status === 400 || status === 409) {
      say(responseText, "error"); // an unknown parameter; another organization is active
      return;
    }
    say(
      status === 403 || status === 404
        ? "You no longer have access. Reload the page or sign in again."
        : `Server error (${status}). Try again in a minute.`,
      "error",
    );
  });
  document.addEventListener("htmx:sendError", () => {
    say("The server cannot be reached. Nothing was changed. Try again.", "error");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A form with marked fields takes the place of the one that was sent; other refusals are text.
    const { xhr } = event.detail;
    if (xhr.status === 400 && xhr.getResponseHeader("content-type").startsWith("text/html")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    // A session that has ended answers with the sign-in page: go there instead of showing it here.
    if (event.detail.xhr.responseURL && new URL(event.detail.xhr.responseURL).pathname === "/login") {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });
})();
