// Links that name machines of the cluster lead through nucspark open.
(function () {
  "use strict";
  function lead(event) {
    var at = event.target;
    var a = at instanceof Element ? at.closest("a[href]") : null;
    if (!a || a.protocol !== "http:" || a.hostname === location.hostname) return;
    if (/^[0-9.]+$/.test(a.hostname) || /\.cluster\.local$/.test(a.hostname))
      a.href = "/.nucspark/to?url=" + encodeURIComponent(a.href);
  }
  ["mouseover", "focusin", "touchstart", "click"].forEach(function (kind) {
    window.addEventListener(kind, lead, true);
  });
})();
