/* Passkeys: a form with data-passkey asks its options by what is filled in, lets the device answer, and sends the answer. */
"use strict";

class Refused extends Error {}

async function answer(form) {
  const token = form.querySelector('input[name="csrf_token"]').value;
  const response = await fetch(form.dataset.options, { method: "POST", headers: { "X-CSRFToken": token }, body: new FormData(form) });
  if (response.redirected) { window.location.assign(response.url); return false; }
  if (!response.ok) throw new Refused((await response.json().catch(() => ({}))).error || "");
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
    } catch (failure) {
      if (failure instanceof Refused && failure.message) error.textContent = failure.message;
      error.hidden = false;
      button.disabled = false;
    }
  });
}
