"""The update rule that a stochastic solver's name and parameters stand for."""

from ..optimizers import SAM, SGD, Adagrad, Adam, AdamW, RMSProp, UpdateRule
from ..schedules import Schedule


class _Optimizer:
    """Update rule of a fit and its current learning rate."""

    def __init__(self, settings):
        solver, rate, self.schedule = settings.solver, settings.learning_rate, "constant"
        rate = rate if isinstance(rate, Schedule) else settings.learning_rate_init
        if isinstance(solver, UpdateRule | SAM):
            self.rule = solver
        elif solver == "sgd":
            nesterov = settings.nesterovs_momentum and settings.momentum > 0
            self.rule = SGD(rate, momentum=settings.momentum, nesterov=nesterov)
            self.schedule = settings.learning_rate
        elif solver in ("adam", "adamw"):
            rule = Adam if solver == "adam" else AdamW
            self.rule = rule(rate, settings.beta_1, settings.beta_2, settings.epsilon)
        else:
            self.rule = (RMSProp if solver == "rmsprop" else Adagrad)(rate)
        self.power_t = settings.power_t
        rate = self.rule.learning_rate
        self.learning_rate = None if isinstance(rate, Schedule) else float(rate)  # None: the rule's

    def end_epoch(self, t):
        """Follow the schedule; `t` is the number of rows seen so far."""
        if self.schedule == "invscaling":
            self.learning_rate = float(self.rule.learning_rate) / (t + 1) ** self.power_t

    def stop(self, message, verbose):
        """Whether to stop now that training doesn't improve; else the learning rate was lowered."""
        stop = self.schedule != "adaptive" or self.learning_rate <= 1e-6
        if not stop:
            self.learning_rate /= 5
            message += f" Setting learning rate to {self.learning_rate:f}"
        else:
            message += " Learning rate too small." if self.schedule == "adaptive" else ""
            message += " Stopping."
        if verbose:
            print(message)
        return stop
