// While the run goes on: asks the server for what is new.

const liveNote = document.getElementById("live");
const EVERY = 3000;
let tag = null;

async function ask() {
  const answer = await fetch("/data", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error(`${answer.status}`);
  tag = answer.headers.get("ETag");
  return decoded(await answer.arrayBuffer());
}

function follow() {
  const turn = async () => {
    let wait = EVERY;
    if (!document.hidden) {
      try {
        const fresh = await ask();
        if (fresh) renew(fresh);
        sayLive();
      } catch (error) {
        if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) console.error(error);
        liveNote.className = "pill gone";
        liveNote.textContent = "the server has gone; this is what it said last";
        wait = 2 * EVERY;
      }
    }
    setTimeout(turn, wait);
  };
  sayLive();
  setTimeout(turn, EVERY);
}

function sayLive() {
  const isLive = all.runs.some((run) => run.live);
  liveNote.className = `pill ${isLive ? "live" : ""}`;
  liveNote.textContent = isLive ? "live" : "the run has ended";
}
