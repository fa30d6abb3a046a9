"""What may be given as a rule."""

from __future__ import annotations

from recent_prune.rules.certified.rule import CertifiedRule


def check_rule(rule: object) -> None:
    """Refuse what is no rule; None stands for the default one."""
    is_rule = rule is None or callable(rule) or isinstance(rule, CertifiedRule)
    if not is_rule or isinstance(rule, type):
        raise TypeError(f"`rule` must be a rule (an instance, not a class), but got {rule!r}.")


def check_ranks(keep: object, rule: object) -> None:
    """Refuse to rank candidates for a rule that prunes by itself."""
    if keep != 1 and isinstance(rule, CertifiedRule):
        raise ValueError(
            f"`keep` must be 1 for a CertifiedRule, which prunes by itself, but got {keep!r}."
        )
