// When the connection to this node is gone: say so, and where to go on. Also the theme's button.
(function () {
  var box = document.getElementById("tf-lost");
  function draw(lost) {
    if (!lost) { box.className = ""; box.textContent = ""; return; }
    if (box.className) return;
    box.className = "shown";
    var text = document.createElement("p");
    text.textContent = "Node " + box.dataset.here + " does not answer any more.";
    box.appendChild(text);
    JSON.parse(box.dataset.others || "[]").forEach(function (other) {
      var link = document.createElement("a");
      link.href = other.url + location.pathname;
      link.textContent = "Go on at node " + other.node + ": " + other.url.replace("https://", "");
      box.appendChild(link);
    });
  }
  // The editor's colours are chosen by the server.
  function tell(theme) { if (window.emitEvent) window.emitEvent("twofold-theme", theme); }
  var told = false;
  var since = 0;
  setInterval(function () {
    if (!told && window.socket && window.socket.connected) {
      told = true;
      tell(document.documentElement.dataset.theme);
    }
    var gone = !!window.socket && !window.socket.connected;
    since = gone ? since + 1 : 0;
    draw(since >= 3);
  }, 1000);
  document.addEventListener("click", function (event) {
    if (!event.target.closest("[data-theme-button]")) return;
    var root = document.documentElement;
    var theme = root.dataset.theme === "dark" ? "light" : "dark";
    root.dataset.theme = theme;
    tell(theme);
    try { localStorage.setItem("twofold-theme", theme); } catch (e) { /* it lasts for this page */ }
  });
})();
