"""Work that is handed to the workers, by anybody."""

from __future__ import annotations

from mailcore.errors import ServerBusy
from mailcore.services.process.redis_link import RedisLink


class Jobs:
    """Puts registered jobs on their queues; what they are is in `workers/registry.py`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def enqueue(self, job: str, **arguments: str | int | bool | None) -> str:
        """Have a job done soon, and return its id; a job done twice is a job done once.

        Raises:
            ServerBusy: the queue is away; nothing was handed over, as far as is known.
        """
        from workers.enqueue import enqueue  # takes a while to import, and few processes need it

        done = self._link.ask(lambda client: enqueue(client, job, **arguments))
        if done is None:
            raise ServerBusy("the queue of jobs is away")
        return done
