// Opens the INBOX of the first account, fetches or collects what is there, and returns every message as it is
// shown and as it is stored. Arguments: kind of server, password, number of messages to wait for.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { MsgHdrToMimeMessage } = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
const [kind, password, count] = args;

const until = async test => {
  let value;
  while (!(value = test())) {
    await new Promise(go => setTimeout(go, 20));
  }
  return value;
};
const finished = start =>
  new Promise((done, fail) =>
    start({
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
      OnStartRunningUrl() {},
      OnStopRunningUrl: (url, status) => (Components.isSuccessCode(status) ? done() : fail(new Error(status))),
    }),
  );
const raw = (folder, header) =>
  new Promise((done, fail) => {
    const uri = folder.getUriForMsg(header);
    const pieces = [];
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
      onStartRequest() {},
      onStopRequest: (request, status) => (status ? fail(new Error(status)) : done(btoa(pieces.join("")))),
      onDataAvailable(request, stream, offset, length) {
        const reader = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        reader.setInputStream(stream);
        pieces.push(reader.readBytes(length));
      },
    };
    MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "", false);
  });

const server = MailServices.accounts.allServers.find(each => each.type == kind);
server.password = password;
if (kind == "imap") {
  server.performExpand(null);
}
const inbox = await until(() => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
if (kind == "imap") {
  const folder = inbox.QueryInterface(Ci.nsIMsgImapMailFolder);
  await finished(listener => folder.updateFolderWithListener(null, listener));
} else {
  await finished(listener => MailServices.pop3.GetNewMail(null, listener, inbox, server));
}
await until(() => [...inbox.messages].length == count);

const found = [];
for (const header of inbox.messages) {
  const message = await new Promise(done => MsgHdrToMimeMessage(header, null, (_, parsed) => done(parsed), true));
  found.push({
    subject: header.mime2DecodedSubject,
    author: header.mime2DecodedAuthor,
    text: message.coerceBodyToPlaintext(inbox),
    attachments: message.allUserAttachments.map(each => each.size),
    raw: await raw(inbox, header),
  });
}
if (kind == "imap") {
  inbox.markMessagesRead([...inbox.messages].slice(0, 1), true);
}
return found;
