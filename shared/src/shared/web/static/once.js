// Lets a form be sent once: a second press before the answer sends nothing. Without this script the service sees to it.
const again = (form) => {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
};
for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
    // Somebody who has stopped the browser may press again.
    setTimeout(again, 8000, form);
  });
}
// Back on a page that the browser had kept.
addEventListener("pageshow", () => { for (const form of document.forms) again(form); });
