// Comfort only: every page works without it.

// A pressed button says so. Pressing it twice would do no harm: the form carries its order's id.
for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("[data-busy]");
    if (!button) return;
    if (button.getAttribute("aria-disabled") === "true") event.preventDefault();
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.busy;
  });
}

// The browser's "back" may show the page as it was left: then its buttons and order ids are old.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// An order that is still being settled is looked at until it is.
const look = async () => {
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "application/json" } });
    if (!answer.ok || (await answer.json()).finished) return location.reload();
  } catch {
    // No network just now: look again.
  }
  setTimeout(look, 2000);
};
if (document.querySelector("[data-pending]")) setTimeout(look, 2000);
