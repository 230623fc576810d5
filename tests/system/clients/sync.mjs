// One session of a client that keeps a copy of the INBOX: what it knew goes in by standard input, what it knows comes
// out. With QRESYNC it learns of everything from the answers to one SELECT.
import { createHash } from "node:crypto";
import { ImapFlow } from "imapflow";

const { port, user, password, known, write, wait } = JSON.parse(await new Response(process.stdin).text());
const client = new ImapFlow({
  host: "127.0.0.1",
  port,
  secure: false,
  doSTARTTLS: false,
  auth: { user, pass: password },
  qresync: true,
  logger: false,
});
const digest = source => createHash("sha256").update(source).digest("hex");
const flagsOf = message => [...message.flags].sort();
const messages = new Map(Object.entries(known?.messages ?? {}).map(([uid, message]) => [Number(uid), message]));
const events = { flags: 0, expunge: 0, fetched: 0 };

await client.connect();
if (!client.enabled.has("QRESYNC")) {
  throw new Error("QRESYNC was not enabled");
}
client.on("flags", update => {
  events.flags += 1;
  const message = messages.get(update.uid);
  if (message) {
    message.flags = [...update.flags].sort();
  }
});
client.on("expunge", update => {
  events.expunge += 1;
  messages.delete(update.uid);
});

const state = known ? { changedSince: BigInt(known.modseq), uidValidity: BigInt(known.uidValidity) } : {};
const mailbox = await client.mailboxOpen("INBOX", state);
const highest = Math.max(0, ...messages.keys());
const fetchNew = async from => {
  const query = { uid: true, flags: true, source: true, envelope: true, bodyStructure: true, size: true };
  for await (const message of client.fetch(`${from}:*`, query, { uid: true })) {
    if (message.uid < from) {
      continue; // RFC 9051: * is the last message, whatever stands before it
    }
    if (message.source.length !== message.size) {
      throw new Error(`size of ${message.uid}`);
    }
    events.fetched += 1;
    messages.set(message.uid, {
      flags: flagsOf(message),
      digest: digest(message.source),
      subject: message.envelope.subject,
      type: message.bodyStructure.type,
    });
  }
};
await fetchNew(highest + 1);
for (const [uid, flags] of write?.flags ?? []) {
  await client.messageFlagsAdd(String(uid), flags, { uid: true });
  messages.get(uid).flags = [...new Set([...messages.get(uid).flags, ...flags])].sort();
}
if (write?.deleted) {
  await client.messageDelete(write.deleted.join(","), { uid: true });
}
for (const raw of write?.appended ?? []) {
  await client.append("INBOX", Buffer.from(raw, "base64"), ["\\Seen"]);
}
if (write?.appended) {
  await client.noop();
  await fetchNew(Math.max(0, ...messages.keys()) + 1);
}
if (wait) {
  const arrived = new Promise(done => client.once("exists", done));
  process.stderr.write("waiting\n");
  client.idle(); // until the next command; by itself it would idle after a while
  await arrived;
  await fetchNew(Math.max(0, ...messages.keys()) + 1);
}
const result = {
  uidValidity: String(mailbox.uidValidity),
  modseq: String(client.mailbox.highestModseq),
  exists: client.mailbox.exists,
  messages: Object.fromEntries(messages),
  events,
};
await client.logout();
process.stdout.write(JSON.stringify(result));
