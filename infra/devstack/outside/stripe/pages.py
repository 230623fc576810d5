"""The pages that Stripe itself shows: Checkout, the customer's portal, an invoice."""

from __future__ import annotations

from html import escape

from infra.devstack.outside.stripe.world import Object, World

CARDS = {"4242": "A card that pays", "0341": "A card that can be stored and never pays"}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color:#1a1f36}"
    "button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:6px;background:#635bff;color:#fff}"
    "label{display:block;margin:.5rem 0}td{padding:.2rem 1rem .2rem 0}p.note{color:#697386}"
)


def checkout(world: World, session: Object, problem: str = "") -> str:
    """What is subscribed to, and with which card."""
    rows = "".join(
        f"<tr><td>{escape(str(price['nickname']))}</td><td>{each.get('quantity', 'as used')}</td>"
        f"<td>{_money(price['unit_amount_decimal'], price['currency'])}</td></tr>"
        for each in session["_wanted"]["items"]
        for price in [world.get("price", each["price"])]
    )
    back = f'<p><a href="{escape(session["cancel_url"] or "")}">Back</a></p>'
    return _page("Subscribe", f"<table>{rows}</table>{_form('Subscribe', problem)}{back}")


def portal(session: Object) -> str:
    """A form for another card."""
    back = f'<p><a href="{escape(session["return_url"] or "")}">Back</a></p>'
    return _page("Payment method", _form("Save card", "") + back)


def invoice(found: Object, problem: str = "") -> str:
    """The lines of an invoice, and a way to pay it while it is open."""
    rows = "".join(
        f"<tr><td>{escape(line['description'])}</td><td>{_money(line['amount'], line['currency'])}</td></tr>"
        for line in found["lines"]["data"]
    )
    total = _money(found["total"], found["currency"])
    form = _form("Pay", problem) if found["status"] == "open" else f"<p>{escape(str(found['status']))}</p>"
    return _page(f"Invoice {found['number']}", f"<table>{rows}<tr><td>Total</td><td>{total}</td></tr></table>{form}")


def _form(button: str, problem: str) -> str:
    cards = "".join(
        f'<label><input type="radio" name="card" value="{last4}"{" checked" if last4 == "4242" else ""}>'
        f" •••• {last4}: {text}</label>"
        for last4, text in CARDS.items()
    )
    note = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return f'<form method="post">{note}{cards}<button>{button}</button></form>'


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{body}"
        '<p class="note">This is the local Stripe of a development stack: no money moves.</p></html>'
    )


def _money(minor_units: object, currency: str) -> str:
    return f"{float(str(minor_units)) / 100:.4g} {escape(currency.upper())}"
