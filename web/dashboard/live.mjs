// The connection to the node: one stream of changes, made again with growing
// pauses when it breaks.

const firstPause = 1000;
const longestPause = 30000;

// follow calls on[kind](data) for every change, and on.state(connected).
export function follow(url, kinds, on) {
  let pause = firstPause;
  let source;
  let timer;

  function open() {
    clearTimeout(timer);
    source = new EventSource(url);
    source.addEventListener("hello", (e) => {
      pause = firstPause;
      on.state(true);
      on.hello(JSON.parse(e.data));
    });
    for (const kind of kinds) {
      source.addEventListener(kind, (e) => on.change(kind, JSON.parse(e.data)));
    }
    source.onerror = lost;
  }

  function lost() {
    source.close();
    clearTimeout(timer);
    on.state(false);
    // Half of the pause is random: a node that comes back must not meet all its
    // browsers at once.
    timer = setTimeout(open, pause / 2 + Math.random() * (pause / 2));
    pause = Math.min(pause * 2, longestPause);
  }

  open();
  return { lost };
}
