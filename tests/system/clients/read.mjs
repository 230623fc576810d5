// Reads every mailbox whole, and tells what it understood: one line of JSON for each mailbox, one for each message.
import { createHash } from "node:crypto";
import { ImapFlow } from "imapflow";

const { port, user, password } = JSON.parse(await new Response(process.stdin).text());
const client = new ImapFlow({
  host: "127.0.0.1",
  port,
  secure: false,
  doSTARTTLS: false,
  auth: { user, pass: password },
  logger: false,
});
const tell = record => process.stdout.write(JSON.stringify(record) + "\n");
const digest = octets => createHash("sha256").update(octets).digest("hex");
const partsOf = part => [
  [part.type, part.encoding ?? "", part.size ?? 0, part.lineCount ?? 0],
  ...(part.childNodes ?? []).flatMap(partsOf),
];
const LISTS = ["from", "sender", "replyTo", "to", "cc", "bcc"];
const QUERY = { flags: true, internalDate: true, size: true, envelope: true, bodyStructure: true, source: true, headers: true };

await client.connect();
for (const { path } of await client.list()) {
  const mailbox = await client.mailboxOpen(path, { readOnly: true });
  tell({ mailbox: path, exists: mailbox.exists, flags: [...mailbox.flags].sort() });
  if (!mailbox.exists) {
    continue;
  }
  for await (const message of client.fetch("1:*", QUERY)) {
    const { envelope } = message;
    tell({
      uid: message.uid,
      flags: [...message.flags].sort(),
      internalDate: message.internalDate.getTime() / 1000,
      size: message.size,
      source: digest(message.source),
      headers: digest(message.headers),
      subject: envelope.subject ?? "",
      messageId: envelope.messageId ?? "",
      inReplyTo: envelope.inReplyTo ?? "",
      addresses: LISTS.map(list => (envelope[list] ?? []).map(({ address }) => address).filter(Boolean)),
      parts: message.bodyStructure ? partsOf(message.bodyStructure) : [],
    });
  }
}
await client.noop();
await client.logout();
