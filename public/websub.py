"""Tells a WebSub hub that feeds have news (https://www.w3.org/TR/websub/#publishing)."""

import logging
import threading

import requests

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
TOPICS_MAX = 500  # waiting for a hub that hangs


class Hub:
    """One hub, told by its own thread: a hub that hangs holds nobody up."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._waiting: dict[str, None] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        threading.Thread(target=self._run, name="websub", daemon=True).start()

    def ping(self, topics: list[str]) -> None:
        """Queue the addresses of feeds that have changed and are live."""
        with self._lock:
            for topic in topics[: TOPICS_MAX - len(self._waiting)]:
                self._waiting[topic] = None
        if topics:
            self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            with self._lock:
                topics, self._waiting = list(self._waiting), {}
            for topic in topics:
                if not self._tell(topic):
                    break  # the others would fail as well; readers come by themselves

    def _tell(self, topic: str) -> bool:
        told = {"hub.mode": "publish", "hub.url": topic, "hub.topic": topic}
        try:
            answer = requests.post(self.url, data=told, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            log.warning("The WebSub hub %s does not answer: %s.", self.url, type(error).__name__)
            return False
        if answer.status_code >= 300:
            log.warning("The WebSub hub %s answers %s.", self.url, answer.status_code)
            return False
        return True
