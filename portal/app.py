"""The portal's application."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from importlib import import_module

from flask import Flask, g, jsonify, request, session, url_for
from flask.typing import ResponseReturnValue
from redis import Redis
from werkzeug.middleware.proxy_fix import ProxyFix

from mailcore.services import MailServices
from portal import access, database, failures, jobs, languages, navigation, progress, rate_limits, security, showing
from portal.access import need_of, public
from portal.accounts import sessions
from portal.accounts.cookies import TOKEN
from portal.api.mount import mount
from portal.billing.gateway import client_of
from portal.database import Database
from portal.mail_plane import EXTENSION, Portal
from portal.permissions import Permission
from portal.rate_limits import RateLimits
from portal.settings import PortalSettings

log = logging.getLogger(__name__)

FEATURES = (
    "portal.accounts.views",
    "portal.accounts.profile",
    "portal.accounts.joining",
    "portal.overview.views",
    "portal.members.views",
    "portal.tokens.views",
    "portal.audit.views",
    "portal.domains.views",
    "portal.domains.published",
    "portal.billing.hook",
    "portal.billing.views",
    "portal.staff.tenant_views",
    "portal.staff.views",
    "portal.staff.abuse",
    "portal.staff.chart_views",
    "portal.staff.feature_views",
    "portal.staff.limit_views",
    "portal.deliveries.views",
    "portal.dashboards.views",
    "portal.people.actions",
    "portal.people.groups",
    "portal.people.shared_mailboxes",
    "portal.people.routing",
    "portal.people.import_views",
    "portal.own.views",
    "portal.own.security",
    "portal.own.app_passwords",
    "portal.own.filters",
    "portal.own.away",
    "portal.own.targets",
    "portal.own.data",
    "portal.own.sent",
    "portal.own.moderation",
    "portal.own.exports",
    "portal.own.keys",
    "portal.own.set_up",
)
"""Modules with blueprints; a feature adds its line. Each has `blueprint`."""
UNGUARDED = frozenset({"static"})
"""Endpoints of Flask itself."""


class Unguarded(RuntimeError):
    """A view does not say what it needs; nobody shall find out by trying."""


def create_app(settings: PortalSettings, mail: MailServices) -> Flask:
    """Build the application; nothing is connected before the first request.

    Raises:
        Unguarded: a view says neither which permission it needs nor that it is public.
    """
    app = Flask(__name__)
    redis_url = settings.mail.redis_url
    redis = Redis.from_url(redis_url.reveal_text(), socket_timeout=3) if redis_url is not None else None
    payments = client_of(settings.stripe) if settings.stripe is not None else None
    parts = Portal(settings, Database(settings.database_url, jobs.queue(redis)), mail, redis, payments)
    app.extensions[EXTENSION] = parts
    app.extensions[rate_limits.EXTENSION] = RateLimits(redis_url.reveal_text() if redis_url is not None else None)
    mount(app, parts)
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies)  # type: ignore[method-assign]
    _bind_session(app, parts)
    security.set_up(app, settings)
    languages.set_up(app)
    failures.set_up(app)
    progress.set_up(app)
    _templates(app)
    app.add_url_rule("/health", "health", _health(parts.database))
    for name in FEATURES:
        app.register_blueprint(import_module(name).blueprint)
    missing = [name for name, view in app.view_functions.items() if name not in UNGUARDED and need_of(view) is None]
    if missing:
        raise Unguarded(f"these views do not say what they need: {', '.join(sorted(missing))}")
    return app


def _bind_session(app: Flask, parts: Portal) -> None:
    """Give each request its database session, and find out who is signed in."""

    @app.before_request
    def begin() -> None:
        g.request_id = secrets.token_hex(8)
        g.scope = parts.database.scope()
        g.scope.__enter__()
        token = session.get(TOKEN)
        if token is not None and request.endpoint not in {"static", "health"}:
            g.signed_in = sessions.still_good(parts.mail, sessions.find_session(token))

    @app.teardown_request
    def end(error: BaseException | None) -> None:  # noqa: ARG001  as Flask calls it
        scope = g.pop("scope", None)
        if scope is not None:
            scope.__exit__(None, None, None)


def _templates(app: Flask) -> None:
    """Give templates what every page shows."""
    showing.set_up(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    @app.context_processor
    def shared() -> dict[str, object]:
        who = access.signed_in()
        entries = navigation.entries_for(who, app.view_functions.__contains__)
        return {
            "who": who,
            "navigation": entries,
            "current_entry": navigation.current(entries, request.path, url_for) if entries else None,
            "languages": languages.LANGUAGES,
            "endpoints": app.view_functions,
            "Permission": Permission,
        }

    versions: dict[str, str] = {}

    @app.template_global()
    def asset(name: str) -> str:
        """Return the address of a file of ours; it changes with the file, so browsers may keep it for ever."""
        from hashlib import sha256
        from pathlib import Path

        if name not in versions:
            versions[name] = sha256((Path(app.static_folder or "") / name).read_bytes()).hexdigest()[:12]
        return url_for("static", filename=name, v=versions[name])


def _health(store: Database) -> Callable[[], ResponseReturnValue]:
    @public
    def health() -> ResponseReturnValue:
        """Answer 200 while Postgres answers, else 503; for load balancers."""
        if database.answers(store.engine):
            return jsonify(status="ok")
        log.warning("portal.health.failed", extra={"store": "postgres"})
        return jsonify(status="unavailable", store="postgres"), 503

    return health
