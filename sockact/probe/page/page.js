// The title of what the mouse is on, or the keyboard, is said below the picture. In each part of it one element
// takes the focus; the arrow keys, Home and End go on from there.
const says = document.querySelector(".says");
const keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
const say = (stop) => { if (stop) says.textContent = stop.querySelector("title").textContent; };

for (const part of document.querySelectorAll(".walk")) {
  const stops = [...part.querySelectorAll(".stop")];
  if (stops.length) stops[0].tabIndex = 0;
  part.addEventListener("keydown", (event) => {
    const at = stops.indexOf(document.activeElement);
    if (!(event.key in keys) || at < 0) return;
    event.preventDefault();
    const next = stops[Math.min(Math.max(at + keys[event.key], 0), stops.length - 1)];
    stops[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    say(next);
  });
  part.addEventListener("focusin", (event) => say(event.target.closest(".stop")));
  part.addEventListener("mouseover", (event) => say(event.target.closest(".stop")));
}
