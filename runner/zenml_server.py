"""The ZenML server as a task meets it: looked for before the run, waited for if it is lost, both for a bounded time.

ZenML itself waits for minutes where a server accepts connections and never answers (9 tries of 30 s, with pauses of up
to two minutes between them), and that again for each of the calls with which it ends a run.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from zenml.exceptions import AuthorizationException
from zenml.zen_stores import rest_zen_store

from runner.failures import Refused

REACH_SECONDS = 30.0
"""How long a server may be away before a run begins: about a restart of it."""

LOST_SECONDS = 60.0
"""How long it may be silent in the middle of a run, when the run needs it. Steps that are running need it not."""

BUSY_SECONDS = 300.0
"""How long it may say that it is too busy: such a server is alive."""

_INFO = "/api/v1/info"
_INFO_TIMEOUT = (5.0, 10.0)
_LAST_TIMEOUT = 5.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 8.0
_BUSY = frozenset({408, 429})
_AWAY = frozenset({502, 503, 504})
_TOO_LONG = (requests.ReadTimeout, requests.ConnectTimeout)
_FOR_GOOD = (requests.exceptions.SSLError, requests.exceptions.InvalidProxyURL)

_log = logging.getLogger(__name__)


class PatientAdapter(HTTPAdapter):
    """Sends a request again until it is answered, for as long as the constants above say, and never for longer.

    A thread whose patience has run out once gets one short try for each further request, until one is answered: the
    calls with which ZenML ends a run must not each wait anew. Every method is repeated, for ZenML sends an idempotency
    key. Takes the place of ZenML's own adapter; `max_retries` is therefore ignored.
    """

    def __init__(
        self,
        max_retries: object = None,
        *,
        patience: float = LOST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        **pools: Any,  # noqa: ANN401 - whatever requests' adapter takes
    ) -> None:
        del max_retries
        super().__init__(max_retries=0, **pools)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._thread = threading.local()

    def send(  # noqa: PLR0913, PLR0917 - the signature of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ANN401 - the same
        verify: bool | str = True,
        cert: Any = None,  # noqa: ANN401 - the same
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send.

        Raises:
            requests.RequestException: there was no answer, or none but that the server is busy or away.

        """
        began = self._clock()
        pause = _FIRST_PAUSE
        while True:
            given_up = getattr(self._thread, "given_up", False)
            patience = self._patience
            try:
                response = super().send(request, stream, _LAST_TIMEOUT if given_up else timeout, verify, cert, proxies)
            except _FOR_GOOD:
                raise
            except (requests.ConnectionError, requests.Timeout) as error:
                fault: requests.RequestException = error
            else:
                if response.status_code not in _BUSY | _AWAY:
                    self._thread.given_up = False
                    return response
                fault = requests.exceptions.RetryError(f"HTTP {response.status_code}", request=request)
                if response.status_code in _BUSY:
                    patience = BUSY_SECONDS
                response.close()
            if given_up or self._clock() - began + pause > patience:
                self._thread.given_up = True
                raise fault
            _log.warning("no answer from the ZenML server, trying again: %s", _said(fault))
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def reach(url: str, adapter: PatientAdapter | None = None) -> None:
    """Find the server at a URL, which needs no key; and have ZenML wait for it as `PatientAdapter` does from now on.

    Raises:
        Refused: `zenml_unreachable` or `zenml_not_answering`.

    """
    # The name under which ZenML's store makes its adapter: before it connects, there is no session to mount one on.
    setattr(rest_zen_store, "HTTPAdapter", PatientAdapter)  # noqa: B010 - it exports no such name to assign to
    with requests.Session() as session:
        adapter = adapter or PatientAdapter(patience=REACH_SECONDS)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        try:
            answer = session.get(url.rstrip("/") + _INFO, timeout=_INFO_TIMEOUT)
            told = answer.json()
            known = answer.ok and isinstance(told, dict) and "version" in told
        except requests.JSONDecodeError:
            known = False
        except requests.RequestException as error:
            raise refusal(error, url) from error
    if not known:
        raise Refused(
            "zenml_unreachable",
            f"{shown(url)} answers, but not as a ZenML server (HTTP {answer.status_code}). "
            "Check ZenmlStoreUrl: it is the address of the server itself, without a path of the dashboard.",
        )


def refusal(error: BaseException, url: str) -> Refused:
    """Say why a run cannot begin: what an error from connecting to the server at a URL means."""
    server = f"the ZenML server {shown(url)}"
    cause = cause_of(error)
    if isinstance(cause, AuthorizationException):
        return Refused(
            "zenml_key_refused",
            f"The key is refused by {server}. The secret of ZenmlApiKeySecretArn must hold the whole key of an active "
            "service account, and nothing else.",
        )
    if isinstance(cause, requests.ReadTimeout):
        return Refused(
            "zenml_not_answering",
            f"{_capital(server)} takes connections and does not answer. Look at its own log and its database.",
        )
    return Refused(
        "zenml_unreachable",
        f"No connection to {server} ({_said(cause or error)}). Check that it runs, ZenmlStoreUrl, and the task's way "
        "out: subnets, security groups, and who may call the server.",
    )


def loss(error: BaseException) -> Refused | None:
    """Say how the server was lost while the pipeline ran; None: the error did not come out of a call to it."""
    if not _is_of_store(error):
        return None
    if isinstance(error, AuthorizationException):
        lost = Refused(
            "zenml_key_refused",
            "The ZenML server refused the key while the pipeline ran: it was deleted, rotated without a retain period, "
            "or its service account was deactivated. Put the new key into the secret and run again.",
        )
    else:
        lost = Refused(
            "zenml_lost",
            f"The ZenML server was lost while the pipeline ran ({_said(error)}). Run it again when the server answers; "
            "there, this run may stay unfinished.",
        )
    lost.__cause__ = error
    return lost


def cause_of(error: BaseException) -> requests.RequestException | AuthorizationException | None:
    """Find what the server or the way to it said, below what ZenML made of it."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if isinstance(found, requests.RequestException | AuthorizationException):
            return found
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return None


def shown(url: str) -> str:
    """Give a URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _said(error: BaseException) -> str:
    """Name what happened; the text of an error from requests has the whole URL and objects' addresses."""
    if isinstance(error, _TOO_LONG):
        return "no answer in time" if isinstance(error, requests.ReadTimeout) else "no connection in time"
    if isinstance(error, requests.exceptions.RetryError):
        return str(error)
    text = str(error)
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning
    return type(error).__name__


_SIGNS = {
    "Connection refused": "connection refused",
    "Connection reset": "connection reset",
    "Remote end closed": "connection closed without an answer",
    "Failed to resolve": "its name cannot be resolved",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _is_of_store(error: BaseException) -> bool:
    """Whether an error came out of the calls to the ZenML server, not out of a step's own requests."""
    if not isinstance(error, requests.RequestException | AuthorizationException):
        return False
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith("zenml/zen_stores/rest_zen_store.py"):
            return True
        trace = trace.tb_next
    return False
