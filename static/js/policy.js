// While a policy is edited: add known models to a list without typing them.
"use strict";

(() => {
  for (const group of document.querySelectorAll(".models")) {
    const list = document.getElementById(group.dataset.addsTo);
    const row = document.createElement("div");
    row.className = "add-model";
    const input = document.createElement("input");
    input.setAttribute("list", "known-models");
    input.setAttribute("aria-label", group.dataset.search);
    input.placeholder = "Search models";
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
      const names = list.value.split(/[,\n]+/).map((each) => each.trim()).filter(Boolean);
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
