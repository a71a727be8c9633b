"""The phases of a server, with Pingora's names and in its order, and the moves between them."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["MOVES", "SIGNALS", "ExecutionPhase", "Move", "ShutdownSignal"]


class ExecutionPhase(Enum):
    """Where a server stands."""

    SETUP = "Setup"
    BOOTSTRAP = "Bootstrap"
    BOOTSTRAP_COMPLETE = "BootstrapComplete"
    RUNNING = "Running"
    GRACEFUL_UPGRADE_TRANSFERRING_FDS = "GracefulUpgradeTransferringFds"
    GRACEFUL_UPGRADE_CLOSE_TIMEOUT = "GracefulUpgradeCloseTimeout"
    GRACEFUL_TERMINATE = "GracefulTerminate"
    SHUTDOWN_STARTED = "ShutdownStarted"
    SHUTDOWN_GRACE_PERIOD = "ShutdownGracePeriod"
    SHUTDOWN_RUNTIMES = "ShutdownRuntimes"
    TERMINATED = "Terminated"


class ShutdownSignal(Enum):
    """What is asked of a server from outside."""

    GRACEFUL_UPGRADE = "SIGQUIT"
    GRACEFUL_TERMINATE = "SIGTERM"
    FAST_SHUTDOWN = "SIGINT"


class Move(Enum):
    """What takes a server from one phase to the next."""

    BOOTSTRAP = auto()
    BOOTSTRAPPED = auto()  # the sockets of the old process are here, or none were asked for
    ALL_READY = auto()
    UPGRADE = auto()
    HANDED_OVER = auto()  # the new process has acknowledged: it accepts
    HAND_OVER_FAILED = auto()
    TERMINATE = auto()
    FAST = auto()
    SHUT_DOWN = auto()
    DRAIN = auto()
    STOP = auto()  # every service has ended, or they are not waited for any longer
    STOPPED = auto()


_P = ExecutionPhase

# TERMINATED has no row: nothing leaves it.
MOVES: dict[tuple[ExecutionPhase, Move], ExecutionPhase] = {
    (_P.SETUP, Move.BOOTSTRAP): _P.BOOTSTRAP,
    (_P.BOOTSTRAP, Move.BOOTSTRAPPED): _P.BOOTSTRAP_COMPLETE,
    (_P.BOOTSTRAP_COMPLETE, Move.ALL_READY): _P.RUNNING,
    (_P.RUNNING, Move.UPGRADE): _P.GRACEFUL_UPGRADE_TRANSFERRING_FDS,
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, Move.HANDED_OVER): _P.GRACEFUL_UPGRADE_CLOSE_TIMEOUT,
    # Deviation: Pingora ends whether or not the new process got anything. Here nothing has happened.
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, Move.HAND_OVER_FAILED): _P.RUNNING,
    (_P.GRACEFUL_UPGRADE_CLOSE_TIMEOUT, Move.SHUT_DOWN): _P.SHUTDOWN_STARTED,
    (_P.SETUP, Move.TERMINATE): _P.GRACEFUL_TERMINATE,
    (_P.BOOTSTRAP, Move.TERMINATE): _P.GRACEFUL_TERMINATE,
    (_P.BOOTSTRAP_COMPLETE, Move.TERMINATE): _P.GRACEFUL_TERMINATE,
    (_P.RUNNING, Move.TERMINATE): _P.GRACEFUL_TERMINATE,
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, Move.TERMINATE): _P.GRACEFUL_TERMINATE,
    (_P.GRACEFUL_TERMINATE, Move.SHUT_DOWN): _P.SHUTDOWN_STARTED,
    (_P.SETUP, Move.FAST): _P.SHUTDOWN_STARTED,
    (_P.BOOTSTRAP, Move.FAST): _P.SHUTDOWN_STARTED,
    (_P.BOOTSTRAP_COMPLETE, Move.FAST): _P.SHUTDOWN_STARTED,
    (_P.RUNNING, Move.FAST): _P.SHUTDOWN_STARTED,
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, Move.FAST): _P.SHUTDOWN_STARTED,
    (_P.SHUTDOWN_STARTED, Move.DRAIN): _P.SHUTDOWN_GRACE_PERIOD,
    (_P.SHUTDOWN_STARTED, Move.STOP): _P.SHUTDOWN_RUNTIMES,
    (_P.SHUTDOWN_GRACE_PERIOD, Move.STOP): _P.SHUTDOWN_RUNTIMES,
    (_P.SHUTDOWN_RUNTIMES, Move.STOPPED): _P.TERMINATED,
}

_Q, _T, _I = ShutdownSignal

# What a signal does in each phase in which a server rests; absent: nothing. An upgrade of a server that is not
# up, or that hands over or drains already, is nothing.
SIGNALS: dict[tuple[ExecutionPhase, ShutdownSignal], Move] = {
    (_P.SETUP, _T): Move.TERMINATE,
    (_P.SETUP, _I): Move.FAST,
    (_P.BOOTSTRAP, _T): Move.TERMINATE,
    (_P.BOOTSTRAP, _I): Move.FAST,
    (_P.BOOTSTRAP_COMPLETE, _T): Move.TERMINATE,
    (_P.BOOTSTRAP_COMPLETE, _I): Move.FAST,
    (_P.RUNNING, _Q): Move.UPGRADE,
    (_P.RUNNING, _T): Move.TERMINATE,
    (_P.RUNNING, _I): Move.FAST,
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, _T): Move.TERMINATE,
    (_P.GRACEFUL_UPGRADE_TRANSFERRING_FDS, _I): Move.FAST,
    (_P.SHUTDOWN_GRACE_PERIOD, _T): Move.STOP,  # the second one: in Pingora it is not heard
    (_P.SHUTDOWN_GRACE_PERIOD, _I): Move.STOP,
}
