// Before anything is drawn: the theme that was chosen last, else the system's.
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("twofold-theme"); } catch (e) { /* no storage: the system's */ }
  var dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
