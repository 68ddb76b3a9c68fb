// Puts a button beside each value that is to be copied. Without this script a value is selected and copied by hand.
if (navigator.clipboard) {
  for (const box of document.querySelectorAll("[data-copy]")) {
    const value = box.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button plain copy";
    button.setAttribute("aria-live", "polite");
    button.setAttribute("aria-describedby", value.id);
    button.textContent = box.dataset.copy;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(value.textContent);
      button.textContent = box.dataset.copied;
      setTimeout(() => { button.textContent = box.dataset.copy; }, 2500);
    });
    box.append(button);
  }
}
