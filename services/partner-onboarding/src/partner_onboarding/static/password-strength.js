// Says while a new password is typed how far it is. The service judges for itself; without this script nothing is missing.
for (const box of document.querySelectorAll("[data-strength-of]")) {
  const input = document.getElementById(box.dataset.strengthOf);
  const text = box.querySelector(".strength-text");
  const least = Number(box.dataset.least);
  const say = () => {
    const characters = [...input.value.normalize("NFKC")];
    const different = new Set(characters).size;
    box.hidden = characters.length === 0;
    let [level, words] = ["good", box.dataset.good];
    if (characters.length < least) {
      [level, words] = ["weak", box.dataset.more.replace("#", least - characters.length)];
    } else if (different < 8) {
      [level, words] = ["weak", box.dataset.repeated];
    } else if (characters.length < least + 5) {
      [level, words] = ["fair", box.dataset.fair];
    }
    box.dataset.level = level;
    if (text.textContent !== words) text.textContent = words;
  };
  input.addEventListener("input", say);
  say();
}
