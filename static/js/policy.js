// While a policy, a budget or a key is edited: add what is known to a list without typing it.
"use strict";

(() => {
  for (const group of document.querySelectorAll("[data-adds-to]")) {
    const list = document.getElementById(group.dataset.addsTo);
    const row = document.createElement("div");
    row.className = "add-known";
    const input = document.createElement("input");
    input.setAttribute("list", group.dataset.list ?? "known-models");
    input.setAttribute("aria-label", group.dataset.search);
    input.placeholder = "Search";
    input.autocomplete = "off";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small quiet";
    button.textContent = "Add";
    row.append(input, button);
    list.after(row);

    const add = () => {
      const name = input.value.trim();
      if (!name) return;
      const separator = "lines" in group.dataset ? /\n+/ : /[,\n]+/;
      const names = list.value.split(separator).map((each) => each.trim()).filter(Boolean);
      if (!names.some((each) => each.toLowerCase() === name.toLowerCase())) names.push(name);
      list.value = names.join("\n");
      input.value = "";
      input.focus();
      list.dispatchEvent(new Event("input", { bubbles: true }));
    };
    button.addEventListener("click", add);
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      add();
    });
    // What is searched for is no change of the policy.
    input.addEventListener("input", (event) => event.stopPropagation());
  }
})();
