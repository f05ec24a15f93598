"""Error codes, what each means for a retry, and how long the next attempt waits."""

from enum import StrEnum

from podling.core.spec import RetryPolicy


class ErrorCode(StrEnum):
    """Why an attempt ended badly. Advice for each is in `ADVICE`."""

    EXIT_CODE = "EXIT_CODE"
    SIGNAL = "SIGNAL"
    OOM = "OOM"
    TIMEOUT = "TIMEOUT"
    IMAGE_PULL = "IMAGE_PULL"
    IMAGE_AUTH = "IMAGE_AUTH"
    IMAGE_MISSING = "IMAGE_MISSING"
    CREATE = "CREATE"
    START = "START"
    POLICY_DENIED = "POLICY_DENIED"
    EXTERNAL = "EXTERNAL"
    RUNTIME = "RUNTIME"
    UNKNOWN_EXIT = "UNKNOWN_EXIT"
    NODE_LOST = "NODE_LOST"
    DISCONNECTED = "DISCONNECTED"
    DRAINED = "DRAINED"
    QUEUE_TIMEOUT = "QUEUE_TIMEOUT"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    DEPENDENCY_UNMET = "DEPENDENCY_UNMET"
    DEPENDENCY_DOWN = "DEPENDENCY_DOWN"
    RATE_LIMIT = "RATE_LIMIT"
    DB_DEADLOCK = "DB_DEADLOCK"
    SERIALIZATION = "SERIALIZATION"
    PANIC = "PANIC"
    NOT_ADMITTED = "NOT_ADMITTED"
    BAD_PAYLOAD = "BAD_PAYLOAD"
    UNKNOWN_JOB_TYPE = "UNKNOWN_JOB_TYPE"
    BAD_STATEMENT = "BAD_STATEMENT"
    ACCESS_DENIED = "ACCESS_DENIED"
    UNKNOWN = "UNKNOWN"


INFRASTRUCTURE = frozenset(
    {
        ErrorCode.EXTERNAL,
        ErrorCode.RUNTIME,
        ErrorCode.UNKNOWN_EXIT,
        ErrorCode.NODE_LOST,
        ErrorCode.DISCONNECTED,
        ErrorCode.DRAINED,
    }
)
"""Not the task's fault: charged to `maxLosses`, never to `maxAttempts`."""

FINAL = frozenset(
    {
        ErrorCode.QUEUE_TIMEOUT,
        ErrorCode.DEADLINE,
        ErrorCode.CANCELLED,
        ErrorCode.NOT_ADMITTED,
        ErrorCode.DEPENDENCY_UNMET,
        ErrorCode.BAD_PAYLOAD,
        ErrorCode.UNKNOWN_JOB_TYPE,
        ErrorCode.BAD_STATEMENT,
        ErrorCode.ACCESS_DENIED,
    }
)
"""Never tried again, whatever the budget."""

ADVICE: dict[ErrorCode, str] = {
    ErrorCode.EXIT_CODE: "Read the end of its log; the program itself reported the failure.",
    ErrorCode.SIGNAL: "Something sent it a signal; look for an operator, a limit or a crash in its log.",
    ErrorCode.OOM: "It used more memory than its limit; raise resources.limits.memory or use less.",
    ErrorCode.TIMEOUT: "It ran longer than timeoutSeconds; raise it or make the work shorter.",
    ErrorCode.IMAGE_PULL: "The registry did not give the image; check its name, and whether it answers.",
    ErrorCode.IMAGE_AUTH: "The registry wants credentials that its node has not; log in there with docker "
    "login, or give the worker --registry-config.",
    ErrorCode.IMAGE_MISSING: "The node has no such image and may not pull it; check the name or pullPolicy.",
    ErrorCode.CREATE: "It could not be made as it was asked for; the error says what is wrong with that.",
    ErrorCode.START: "The container could not be started; check the command, user and working directory.",
    ErrorCode.POLICY_DENIED: "Its node's own policy denies it; ask the operator, or place it elsewhere.",
    ErrorCode.EXTERNAL: "Somebody removed or stopped it by hand.",
    ErrorCode.RUNTIME: "The container engine failed or did not answer; check it on the node.",
    ErrorCode.UNKNOWN_EXIT: "Nobody saw how it ended; check its effects before you replay it.",
    ErrorCode.NODE_LOST: "Its node stopped answering; see podling nodes.",
    ErrorCode.DISCONNECTED: "Its worker lost every master for a lease and stopped it; check the network.",
    ErrorCode.DRAINED: "Its node was emptied on purpose; it goes on elsewhere, unless it is at_most_once.",
    ErrorCode.QUEUE_TIMEOUT: "No node had room for it, or its queue did not let it start; podling timeline "
    "shows a limit that held it up. Add capacity, raise the limit, or raise queueTimeoutSeconds.",
    ErrorCode.DEADLINE: "It did not end within deadlineSeconds of its submission, retries included.",
    ErrorCode.CANCELLED: "It was cancelled on request.",
    ErrorCode.NOT_ADMITTED: "The door refused what was left for it by SQL; the error says why. Submit it "
    "corrected, or replay it once the rule has changed.",
    ErrorCode.DEPENDENCY_UNMET: "A task that it depends on ended in another way than it wants; look at that "
    "one, and replay both.",
    ErrorCode.DEPENDENCY_DOWN: "Something that it needs, as its database, did not answer; bring that back.",
    ErrorCode.RATE_LIMIT: "Another service asked its handler to slow down; lower the handler's concurrency.",
    ErrorCode.DB_DEADLOCK: "Its database broke a deadlock; have those that do so lock rows in one order.",
    ErrorCode.SERIALIZATION: "Its transaction met another one; it is right to try it again.",
    ErrorCode.PANIC: "The process of its handler ended; look for a crash, os._exit or too little memory.",
    ErrorCode.BAD_PAYLOAD: "What it was given does not fit; submit it with another payload or parameters.",
    ErrorCode.UNKNOWN_JOB_TYPE: "Its worker has no such handler; load the module that registers it there.",
    ErrorCode.BAD_STATEMENT: "Its database cannot do this statement; the error says where it is wrong.",
    ErrorCode.ACCESS_DENIED: "The login of its database may not do this; grant it, or name another database.",
    ErrorCode.UNKNOWN: "Read its log and the error message.",
}


def is_infrastructure(error_code: str) -> bool:
    """Whether the code is charged to the budget of losses."""
    return error_code in INFRASTRUCTURE


def may_retry(policy: RetryPolicy, error_code: str, exit_code: int | None) -> bool:
    """Whether the policy allows another attempt after this failure (budgets are not looked at)."""
    if error_code in FINAL:
        return False
    names = {error_code, f"exit:{exit_code}"}
    if names.intersection(policy.not_on):
        return False
    return not policy.on or bool(names.intersection(policy.on))


def backoff_seconds(policy: RetryPolicy, failures: int, draw: float) -> float:
    """Return the wait before the next attempt, in seconds.

    `failures` is how many attempts have failed so far (1 or more); `draw` a random number in [0, 1).
    """
    try:
        wait = policy.base_seconds * policy.factor ** (failures - 1)
    except OverflowError:
        wait = policy.max_seconds
    spread = 1 + policy.jitter * (2 * draw - 1)
    return min(min(wait, policy.max_seconds) * spread, policy.max_seconds)


def advice_for(error_code: str | None) -> str | None:
    """Return what a person should do about the code; None without a code."""
    if error_code is None:
        return None
    known = error_code if error_code in ErrorCode.__members__ else ErrorCode.UNKNOWN
    return ADVICE[ErrorCode(known)]
