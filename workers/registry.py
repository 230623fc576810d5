"""Every job: its function, queue and time limit. Imports nothing of ours, so that anybody may enqueue by it."""

from __future__ import annotations

from dataclasses import dataclass

PORTAL = "portal"
"""What somebody waits for in the portal: taken before anything else."""
MAINTENANCE = "maintenance"
QUEUES = (PORTAL, MAINTENANCE)
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class RegisteredJob:
    """A job that workers know.

    Attributes:
        function: dotted path; its first argument is the `JobContext`, the others have names and JSON values.
        timeout_s: after which a worker gives it up; the next run goes on where it stopped.
    """

    name: str
    function: str
    queue: str
    timeout_s: int


JOBS: dict[str, RegisteredJob] = {
    job.name: job
    for job in (
        RegisteredJob("retention.all", "workers.jobs.retention.collect_all", MAINTENANCE, 600),
        RegisteredJob("retention.shard", "workers.jobs.retention.collect_shard", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("retention.user", "workers.jobs.retention.collect_user", MAINTENANCE, HOUR_S),
        RegisteredJob("expiry.all", "workers.jobs.expiry.expire_all", MAINTENANCE, 600),
        RegisteredJob("expiry.shard", "workers.jobs.expiry.expire_shard", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("collection.all", "workers.jobs.collection.sweep_all", MAINTENANCE, 600),
        RegisteredJob("collection.blobs", "workers.jobs.collection.sweep_blobs", MAINTENANCE, 12 * HOUR_S),
        RegisteredJob("collection.messages", "workers.jobs.collection.sweep_messages", MAINTENANCE, 24 * HOUR_S),
        RegisteredJob("indexes.ensure", "workers.jobs.indexes.ensure", MAINTENANCE, HOUR_S),
        RegisteredJob("demotion.all", "workers.jobs.demotion.demote_all", MAINTENANCE, 600),
        RegisteredJob("demotion.shard", "workers.jobs.demotion.demote_shard", MAINTENANCE, HOUR_S),
        RegisteredJob("demotion.redate", "workers.jobs.demotion.redate", MAINTENANCE, HOUR_S),
        RegisteredJob("rollups.all", "workers.jobs.rollups.sum_up_all", MAINTENANCE, 600),
        RegisteredJob("rollups.shard", "workers.jobs.rollups.sum_up_shard", MAINTENANCE, HOUR_S),
        RegisteredJob("rollups.measure", "workers.jobs.rollups.measure", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("rollups.platform", "workers.jobs.platform.measure", MAINTENANCE, 300),
        RegisteredJob("certificates.renew", "workers.jobs.certificates.renew", MAINTENANCE, 1800),
        RegisteredJob("dkim.check", "workers.jobs.dkim.check", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("dns.check_mx", "workers.jobs.dns.check_mx", MAINTENANCE, HOUR_S),
        RegisteredJob("dkim.rotate", "workers.jobs.dkim.rotate", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("pools.sum_up", "workers.jobs.pools.sum_up", MAINTENANCE, 1800),
        RegisteredJob("people.import", "workers.jobs.people.run_import", MAINTENANCE, 2 * HOUR_S),
        RegisteredJob("people.undo_import", "workers.jobs.people.undo_import", MAINTENANCE, 2 * HOUR_S),
        RegisteredJob("people.resume_imports", "workers.jobs.people.resume_imports", MAINTENANCE, 600),
        RegisteredJob("spam.learn", "workers.jobs.spam.learn", MAINTENANCE, 600),
        RegisteredJob("audits.copy_due", "workers.jobs.audits.copy_due", MAINTENANCE, HOUR_S),
        RegisteredJob("exports.make_due", "workers.jobs.exports.make_due", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("webhooks.deliver", "workers.jobs.webhooks.deliver", MAINTENANCE, 300),
        RegisteredJob("sealing.rotate", "workers.jobs.sealing.rotate", MAINTENANCE, HOUR_S),
        RegisteredJob("users.erase_due", "workers.jobs.deleted_users.erase_due", MAINTENANCE, 600),
        RegisteredJob("users.erase", "workers.jobs.deleted_users.erase", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("portal.provision", "workers.jobs.portal.provision", PORTAL, 600),
        RegisteredJob("portal.mail_link", "workers.jobs.portal.mail_link", PORTAL, 300),
        RegisteredJob("portal.revoke_tokens", "workers.jobs.portal.revoke_tokens", PORTAL, 600),
        RegisteredJob("portal.reconcile", "workers.jobs.portal.reconcile", PORTAL, 600),
        RegisteredJob("portal.take_over_events", "workers.jobs.portal.take_over_events", MAINTENANCE, HOUR_S),
        RegisteredJob("billing.apply_change", "workers.jobs.billing.apply_change", PORTAL, 300),
        RegisteredJob("billing.enforce", "workers.jobs.billing.enforce", PORTAL, 300),
        RegisteredJob("billing.tick", "workers.jobs.billing.tick", MAINTENANCE, HOUR_S),
        RegisteredJob("billing.compare", "workers.jobs.billing.compare", MAINTENANCE, HOUR_S),
        RegisteredJob("billing.reconcile", "workers.jobs.billing.reconcile", MAINTENANCE, 600),
        RegisteredJob("billing.meter", "workers.jobs.billing.meter", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("portal.compare", "workers.jobs.portal.compare", MAINTENANCE, HOUR_S),
        RegisteredJob("domains.due", "workers.jobs.domains.due", PORTAL, 300),
        RegisteredJob("domains.check", "workers.jobs.domains.check", PORTAL, 600),
        RegisteredJob("domains.apply", "workers.jobs.domains.apply", PORTAL, 600),
        RegisteredJob("domains.write", "workers.jobs.domains.write", PORTAL, 900),
        RegisteredJob("domains.rotate", "workers.jobs.domains.rotate", PORTAL, 600),
        RegisteredJob("domains.reconcile", "workers.jobs.domains.reconcile", MAINTENANCE, 6 * HOUR_S),
        RegisteredJob("features.apply", "workers.jobs.features.apply", PORTAL, 300),
        RegisteredJob("features.all", "workers.jobs.features.apply_all", MAINTENANCE, HOUR_S),
        RegisteredJob("reputation.watch", "workers.jobs.reputation.watch", MAINTENANCE, 300),
        RegisteredJob("posts.tell", "workers.jobs.posts.tell", PORTAL, 300),
        RegisteredJob("targets.mail", "workers.jobs.targets.mail", PORTAL, 300),
        RegisteredJob("scrub.all", "workers.jobs.scrub.scrub_all", MAINTENANCE, 600),
        RegisteredJob("scrub.shard", "workers.jobs.scrub.scrub_shard", MAINTENANCE, 72 * HOUR_S),
    )
}
