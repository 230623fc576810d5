/* Passkeys: a form with data-passkey asks its options, lets the device answer, and sends the answer as a form. */
"use strict";

async function answer(form) {
  const token = form.querySelector('input[name="csrf_token"]').value;
  const response = await fetch(form.dataset.options, { method: "POST", headers: { "X-CSRFToken": token } });
  if (response.redirected) { window.location.assign(response.url); return false; }
  if (!response.ok) throw new Error(String(response.status));
  const options = await response.json();
  const credential = form.dataset.passkey === "create"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  form.querySelector('input[name="credential"]').value = JSON.stringify(credential.toJSON());
  return true;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = form.querySelector(".error");
    const button = form.querySelector("button");
    error.hidden = true;
    button.disabled = true;
    try {
      if (await answer(form)) form.submit();
    } catch {
      error.hidden = false;
      button.disabled = false;
    }
  });
}
