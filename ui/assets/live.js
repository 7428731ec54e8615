// Updates a page of mounts every two seconds, unless it is paused or hidden.
"use strict";
const pause = document.getElementById("pause");
let paused = false;
pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on" : "Pause";
});
async function refresh() {
  if (!paused && !document.hidden && !document.getElementById("fresh").contains(document.activeElement)) {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const selector of ["#fresh", "#live time"]) {
          document.querySelector(selector).replaceWith(fresh.querySelector(selector));
        }
      }
    } catch {
      // The server has ended: the page stays as it was last.
    }
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
