// Light or dark: as the system has it until the button is pressed; what was chosen is kept where the browser allows it.
(() => {
  const root = document.documentElement, button = document.querySelector(".toggle");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`);
  };
  try { const kept = localStorage.getItem("popstream-theme"); if (kept) root.dataset.theme = kept; } catch {}
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("popstream-theme", root.dataset.theme); } catch {}
    show();
  });
  system.addEventListener("change", show);
  show();
})();
